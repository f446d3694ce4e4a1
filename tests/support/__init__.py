"""Real processes for tests and the demo: daemons, virsh, a breakable network, and the proof that nothing is left."""
