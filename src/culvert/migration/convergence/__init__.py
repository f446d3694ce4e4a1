"""What is done so that a migration ends: what is tried, what may be sent, what the link carries."""
