"""The statuses of a migration, in QEMU's words (qapi/migration.json, MigrationStatus), and no limit of its speed."""

from __future__ import annotations

from culvert.ground.units import MiB

UNLIMITED_SPEED = (2**63 - 1) // MiB  # QEMU_DOMAIN_MIG_BANDWIDTH_MAX, MiB/s: libvirt's default for max-bandwidth

# Statuses after which a migration does not move any more (qapi MigrationStatus).
SETTLED = frozenset({"completed", "failed", "cancelled"})

# Statuses in which QEMU works on a migration that can be cancelled.
UNSETTLED = frozenset({"setup", "active", "pre-switchover", "device", "wait-unplug", "cancelling"})

PAUSED = "postcopy-paused"
# Statuses of post-copy: the guest runs, or will run, at the destination. postcopy-recover-setup is QEMU 9.1's.
POSTCOPY = frozenset({"postcopy-active", PAUSED, "postcopy-recover-setup", "postcopy-recover"})
