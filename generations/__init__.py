"""What every generation of Debian does with culvert, and every pair of them with each other: `make generations`."""
