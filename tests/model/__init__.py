"""The Promela model of the hand-over (``model/handover.pml``), checked by SPIN."""
