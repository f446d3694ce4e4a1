"""Connections between two daemons that carry bytes beside calls: who opens, admits, joins and mends them.

Nothing in here knows a driver, or what a migration is.
"""
