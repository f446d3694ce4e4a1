"""Measurements: every way of moving a guest on the same two hosts, in one run. ``make bench``."""
