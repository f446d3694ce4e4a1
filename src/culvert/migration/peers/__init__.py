"""The daemon at the other end: a culvert, a stock libvirtd, or a QEMU that listens."""
