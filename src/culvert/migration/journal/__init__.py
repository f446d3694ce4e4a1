"""What is on the disk of every migration, for the next daemon and for people."""
