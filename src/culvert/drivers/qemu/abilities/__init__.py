"""What this host and its emulators can do."""
