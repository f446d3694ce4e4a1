"""After a restart: what QEMU says now of what the journal has written."""
