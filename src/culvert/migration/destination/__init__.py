"""Guests that arrive at this host."""
