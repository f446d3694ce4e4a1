"""What QEMU's answers mean after a restart; the answers themselves are checked where QEMU gives them."""

from __future__ import annotations

import pytest

from culvert.migration.handover.machine_recovery import DESTINATION_SAYS, SOURCE_SAYS, Qemu
from culvert.migration.recovery import witness

# qapi/migration.json, MigrationStatus, of 7.2 and what came later.
STATUSES = {
    "": Qemu.HERE,
    "none": Qemu.HERE,
    "setup": Qemu.SENDING,
    "cancelling": Qemu.SENDING,
    "cancelled": Qemu.BACK,
    "active": Qemu.SENDING,
    "postcopy-active": Qemu.SWITCHED,
    "postcopy-paused": Qemu.SWITCHED,
    "postcopy-recover-setup": Qemu.SWITCHED,
    "postcopy-recover": Qemu.SWITCHED,
    "completed": Qemu.HERE,
    "failed": Qemu.BACK,
    "failing": Qemu.SENDING,
    "postcopy-device": Qemu.SENDING,
    "a word of a later QEMU": Qemu.HERE,
    "pre-switchover": Qemu.SENDING,
    "device": Qemu.SENDING,
    "wait-unplug": Qemu.SENDING,
}


@pytest.mark.parametrize(("status", "says"), STATUSES.items())
def test_the_source(status: str, says: Qemu) -> None:
    assert witness.source(status) is says
    assert says in SOURCE_SAYS


@pytest.mark.parametrize(
    ("status", "run_state", "says"),
    [
        ("", "inmigrate", Qemu.WAITING),
        ("active", "inmigrate", Qemu.WAITING),
        ("completed", "paused", Qemu.WAITING),
        ("completed", "running", Qemu.RUNNING),
        ("completed", "io-error", Qemu.RUNNING),
        ("completed", "guest-panicked", Qemu.RUNNING),
        ("completed", "shutdown", Qemu.RUNNING),
        ("postcopy-device", "inmigrate", Qemu.WAITING),
        ("failing", "inmigrate", Qemu.WAITING),
        ("postcopy-active", "inmigrate", Qemu.SWITCHED),
        ("postcopy-active", "paused", Qemu.SWITCHED),
        ("postcopy-paused", "paused", Qemu.SWITCHED),
        ("postcopy-active", "running", Qemu.RUNNING_SWITCHED),
        ("postcopy-paused", "running", Qemu.RUNNING_SWITCHED),
        ("postcopy-recover", "running", Qemu.RUNNING_SWITCHED),
    ],
)
def test_the_destination(status: str, run_state: str, says: Qemu) -> None:
    assert witness.destination(status, run_state) is says
    assert says in DESTINATION_SAYS
