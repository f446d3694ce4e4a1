"""What is on the disk of the domains of this host, and where."""
