"""The demonstration: a Linux guest moves between two daemons of this machine and back, watched from outside."""
