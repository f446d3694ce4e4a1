"""Who owns the guest: the tables of both sides, and of a daemon that takes up what an earlier one has left. Pure."""
