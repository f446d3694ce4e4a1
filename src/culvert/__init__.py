"""culvert: tunnelled live migration for QEMU guests.

A running guest moves to another host inside the management daemon's own RPC connection.
The floors are described in ARCHITECTURE.md.
"""

__version__ = "0.2.0.dev0"
