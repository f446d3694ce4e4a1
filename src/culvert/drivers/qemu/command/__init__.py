"""A definition as the command line of a QEMU."""
