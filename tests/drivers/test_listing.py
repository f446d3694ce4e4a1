"""The filters of virsh list."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from culvert.drivers.qemu import listing
from culvert.ground import errors
from culvert.protocol.constants_flag import ListFlag
from culvert.protocol.constants_state import DomainState


@dataclass(frozen=True)
class One:
    is_active: bool
    is_persistent: bool
    state: DomainState
    autostart: bool = False
    has_managed_save: bool = False
    has_snapshots: int = 0


RUNNING = One(True, True, DomainState.RUNNING)
PAUSED = One(True, False, DomainState.PAUSED)
CRASHED = One(True, True, DomainState.CRASHED)
OFF = One(False, True, DomainState.SHUTOFF)
SAVED = One(False, True, DomainState.SHUTOFF, autostart=True, has_managed_save=True)
ALL = (RUNNING, PAUSED, CRASHED, OFF, SAVED)

TABLE = [
    (ListFlag(0), ALL),
    (ListFlag.ACTIVE, (RUNNING, PAUSED, CRASHED)),
    (ListFlag.INACTIVE, (OFF, SAVED)),
    (ListFlag.ACTIVE | ListFlag.INACTIVE, ALL),
    (ListFlag.TRANSIENT, (PAUSED,)),
    (ListFlag.PERSISTENT, (RUNNING, CRASHED, OFF, SAVED)),
    (ListFlag.RUNNING, (RUNNING,)),
    (ListFlag.RUNNING | ListFlag.PAUSED, (RUNNING, PAUSED)),
    (ListFlag.OTHER, (CRASHED,)),
    (ListFlag.SHUTOFF, (OFF, SAVED)),
    (ListFlag.ACTIVE | ListFlag.SHUTOFF, ()),
    (ListFlag.MANAGEDSAVE, (SAVED,)),
    (ListFlag.NO_MANAGEDSAVE | ListFlag.NO_SNAPSHOT, (RUNNING, PAUSED, CRASHED, OFF)),
    (ListFlag.NO_CHECKPOINT | ListFlag.NO_SNAPSHOT, ALL),
    (ListFlag.NO_AUTOSTART, (RUNNING, PAUSED, CRASHED, OFF)),
    (ListFlag.AUTOSTART, (SAVED,)),
    (ListFlag.HAS_SNAPSHOT, ()),
    (ListFlag.HAS_CHECKPOINT, ()),
]


@pytest.mark.parametrize(("flags", "expected"), TABLE)
def test_filter(flags: ListFlag, expected: tuple[One, ...]) -> None:
    assert tuple(one for one in ALL if listing.matches(one, flags)) == expected


def test_every_flag_is_in_exactly_one_group() -> None:
    for flag in ListFlag:
        assert sum(bool(flag & group) for group in listing.GROUPS) == 1


def test_every_domain_has_one_trait_of_each_group() -> None:
    for active, persistent, state in itertools.product((True, False), (True, False), DomainState):
        traits = listing.traits(One(active, persistent, state))
        assert all((traits & group).bit_count() == 1 for group in listing.GROUPS)


def test_unknown_flags_are_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match="0x10000"):
        listing.matches(RUNNING, 0x10000)
