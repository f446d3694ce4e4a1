"""The data plane: how QEMU's migration bytes move between its socket here and the tunnel."""
