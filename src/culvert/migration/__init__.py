"""Moving a running guest to another host: protocol version 3's five steps, and who owns the guest at each."""
