"""The statuses of a migration, in QEMU's words (qapi/migration.json, MigrationStatus), and no limit of its speed.

Each generation of QEMU knows more of them. What they are to a migration is said here once, and a word that is not
here is none of these things: it is waited on, for one that is.

``device`` is told by every migration from 10.0 on, and not only where ``pause-before-switchover`` was asked for.
"""

from __future__ import annotations

from culvert.ground.units import MiB

UNLIMITED_SPEED = (2**63 - 1) // MiB  # QEMU_DOMAIN_MIG_BANDWIDTH_MAX, MiB/s: libvirt's default for max-bandwidth

# QEMU has given the migration up: the guest is where it was, whole.
GIVEN_UP = frozenset({"failed", "cancelled"})

# Statuses after which a migration does not move any more. "failing", from 11.0 on, comes before "failed": what
# "failed" says is so only when that has been said.
SETTLED = frozenset({"completed", *GIVEN_UP})

# QEMU is about to settle by itself.
ENDING = frozenset({"cancelling", "failing"})

# From 10.2 on: what is not memory has been sent for post-copy, and the source waits for the destination to have
# loaded it. Until it is told so the guest is the source's, which takes it back by itself when that does not come.
POSTCOPY_DEVICE = "postcopy-device"

# Statuses in which QEMU works on a migration and has the guest, whole.
UNSETTLED = frozenset({"setup", "active", "pre-switchover", "device", "wait-unplug", POSTCOPY_DEVICE, *ENDING})

PAUSED = "postcopy-paused"
# Statuses of post-copy: the guest runs, or will run, at the destination. postcopy-recover-setup is QEMU 9.1's.
POSTCOPY = frozenset({"postcopy-active", PAUSED, "postcopy-recover-setup", "postcopy-recover"})

KNOWN = frozenset({"none", *SETTLED, *UNSETTLED, *POSTCOPY})
"""Every status that a guest of culvert's can come to."""
