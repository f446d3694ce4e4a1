"""Every order of everything that can happen to a hand-over, played in memory.

The two machines are the real ones (``culvert.migration.handover.machine_*``). Around them: two simulated QEMUs, a
network that loses, delays, reorders and cuts, two disks, two daemons that are killed after any command and started
again.
"""
