"""The fault matrix: a migration between two real daemons is broken at each boundary, then all of it is looked at.

``python -m faults`` (``make faults``); what came of it, beside a pair of stock libvirtd: docs/reliability.md.
"""
