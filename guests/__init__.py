"""Guests for tests, the demo and measurements, built from source and watched from outside.

``tiny`` boots in a fraction of a second and needs nothing but a C compiler; ``linux`` is a real kernel with an init
of our own. Both fill memory with a pattern they can verify, keep dirtying a share of it and print a counter;
``watch`` follows what they print and tells gaps, steps back, silence and bad pages.
"""
