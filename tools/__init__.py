"""What the project uses to write parts of itself."""
