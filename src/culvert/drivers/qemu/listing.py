"""The filters of CONNECT_LIST_ALL_DOMAINS (include/libvirt/libvirt-domain.h, virConnectListAllDomainsFlags)."""

from __future__ import annotations

from typing import Protocol

from culvert.ground import errors
from culvert.protocol.constants_flag import ListFlag
from culvert.protocol.constants_state import DomainState


class Listed(Protocol):
    """What a filter looks at."""

    @property
    def is_active(self) -> bool: ...

    @property
    def is_persistent(self) -> bool: ...

    @property
    def state(self) -> DomainState: ...

    @property
    def autostart(self) -> bool: ...

    @property
    def has_managed_save(self) -> bool: ...

    @property
    def has_snapshots(self) -> int: ...


_BY_STATE = {
    DomainState.RUNNING: ListFlag.RUNNING,
    DomainState.PAUSED: ListFlag.PAUSED,
    DomainState.SHUTOFF: ListFlag.SHUTOFF,
}

# Of each group at least one flag must fit, if any of the group is given.
GROUPS = (
    ListFlag.ACTIVE | ListFlag.INACTIVE,
    ListFlag.PERSISTENT | ListFlag.TRANSIENT,
    ListFlag.RUNNING | ListFlag.PAUSED | ListFlag.SHUTOFF | ListFlag.OTHER,
    ListFlag.MANAGEDSAVE | ListFlag.NO_MANAGEDSAVE,
    ListFlag.AUTOSTART | ListFlag.NO_AUTOSTART,
    ListFlag.HAS_SNAPSHOT | ListFlag.NO_SNAPSHOT,
    ListFlag.HAS_CHECKPOINT | ListFlag.NO_CHECKPOINT,
)


def traits(domain: Listed) -> ListFlag:
    """The flags that are true of ``domain``, one of each group."""
    return (
        (ListFlag.ACTIVE if domain.is_active else ListFlag.INACTIVE)
        | (ListFlag.PERSISTENT if domain.is_persistent else ListFlag.TRANSIENT)
        | _BY_STATE.get(domain.state, ListFlag.OTHER)
        | (ListFlag.AUTOSTART if domain.autostart else ListFlag.NO_AUTOSTART)
        | (ListFlag.MANAGEDSAVE if domain.has_managed_save else ListFlag.NO_MANAGEDSAVE)
        | (ListFlag.HAS_SNAPSHOT if domain.has_snapshots else ListFlag.NO_SNAPSHOT)
        | ListFlag.NO_CHECKPOINT  # no domain of this driver has one
    )


def matches(domain: Listed, flags: int) -> bool:
    """Whether the filter ``flags`` lets ``domain`` through. Raises ``errors.InvalidArgument`` for unknown flags."""
    if flags & ~sum(GROUPS):
        raise errors.InvalidArgument(f"unsupported flags (0x{flags:x}) in function qemuConnectListAllDomains")
    having = traits(domain)
    return all(not flags & group or flags & group & having for group in GROUPS)
