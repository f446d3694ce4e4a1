"""Guests that leave this host."""
