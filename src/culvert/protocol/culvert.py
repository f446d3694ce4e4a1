"""culvert's own program: what two culverts say to each other beside libvirt's protocol.

A daemon that does not know the program answers "Cannot find program" and the connection lives on
(``errors.is_unsupported``); then the standard stream of the standard protocol is used. Everything here is legal
before CONNECT_OPEN, so that a data connection needs no more than authentication, and nothing is legal before that.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from enum import IntEnum, StrEnum
from typing import Annotated

from culvert.ground.units import KiB
from culvert.protocol import culvert_wire_1
from culvert.protocol.procedure import Procedure, Program, StreamDirection, Wait
from culvert.protocol.types import Domain, Int, Str, UHyper, UInt, UUIDBytes, listed, struct
from culvert.xdr import codec
from culvert.xdr.struct import Void

WIRE = 2
"""The newest form of this program that is spoken here. Each side says in HELLO which ones it speaks, the highest that
both do counts, and every older one is still understood.

1   culvert 0.1.0: a channel of a migration is a number, and the outcome is told whoever asks (``culvert_wire_1``)
2   a channel has a kind and a name; who asks for the outcome shows the seal
"""

ABILITIES_MAX = 64
NOTHING = Void()
"""The argument of a procedure that has none."""
HISTORY_MAX = 256  # records in one answer
WAITING_MAX = 4096
PROBE_MAX = 32 * KiB  # bytes of one probe: a packet that every configuration takes

Abilities = Annotated[list[str], listed(Str, ABILITIES_MAX)]
"""Names of what a daemon can do; unknown names are ignored by the other side."""


class ChannelKind(StrEnum):
    """What one channel of a migration carries; the value is the word on the wire and in tokens."""

    MEMORY_MAIN = "memory-main"  # of QEMU's migration stream the first, by which the device state goes too
    MEMORY_MULTIFD = "memory-multifd"  # one of several beside it; its name is its number, from 1
    MEMORY_PREEMPT = "memory-preempt"  # for the pages that a guest in post-copy waits for
    DISK = "disk"  # its name is the disk's target
    CONTROL = "control"  # what two daemons say to each other about the others


class Outcome(IntEnum):
    """What became of an incoming migration, as its destination knows it (``machine_destination.Word``)."""

    UNKNOWN = 0  # there is no record of it: nothing is promised
    PENDING = 1  # being decided
    RUNNING = 2  # the guest belongs here
    GONE = 3  # it has never run here and never will
    LOST = 4  # its CPUs may have run here, and its QEMU has died
    POSTCOPY = 5  # a part of it is here that nobody else has


@struct
class HelloArgs:
    """What the caller can do."""

    abilities: Abilities


@struct
class HelloRet:
    """``version``: of the software; ``host_uuid``: of the daemon, as text."""

    version: Str
    host_uuid: Str
    abilities: Abilities


@struct
class MigrationAttachArgs:
    """``token``: made of the ticket in the URI that prepare answered, good for one use.

    ``kind``: a ``ChannelKind``; ``name`` tells channels of one kind apart, and is empty where there is only one.
    """

    token: Str
    kind: Str
    name: Str


@struct
class MigrationChannelArgs:
    """As ``MigrationAttachArgs``; ``received``: bytes of the destination's that the source has already."""

    token: Str
    kind: Str
    name: Str
    received: UHyper


@struct
class MigrationChannelRet:
    """``received``: bytes of the source's that the destination has already; it goes on from there."""

    received: UHyper


@struct
class MigrationOutcomeArgs:
    """``dom``: the domain as the source knows it; ``attempt`` and ``seal``: of its cookies.

    To ask ends an attempt that nobody finishes, so who asks shows what the history does not.
    """

    dom: Domain
    attempt: Str
    seal: Str


@struct
class MigrationOutcomeRet:
    """``outcome`` an ``Outcome``; ``detail``: the reason, for people; may be empty."""

    outcome: Int
    detail: Str


@struct
class MigrationRecoverArgs:
    """``attempt`` and ``grant`` as in the cookies; ``preempt``: the way has a channel for preempted pages too."""

    attempt: Str
    grant: Str
    preempt: Int


@struct
class MigrationRecoverRet:
    """``name``: of the domain there; ``ticket``: opens the new data path."""

    name: Str
    ticket: Str


@struct
class MigrationProbeArgs:
    """``data`` is thrown away: only how long it takes is of interest."""

    data: Annotated[bytes, codec.Opaque(PROBE_MAX)]


@struct
class MigrationHistoryArgs:
    """``domain``: name or UUID, empty for all; ``limit``: of records, 0 for as many as one answer holds."""

    domain: Str
    limit: UInt


@struct
class MigrationHistoryRet:
    """Each record a JSON object (``migration.journal.history.Entry.as_json``), newest first, without its lines."""

    records: Annotated[list[str], listed(Str, HISTORY_MAX)]


@struct
class MigrationShowArgs:
    """``number``: the "id" of a record."""

    number: UHyper


@struct
class MigrationShowRet:
    """The whole record, with its lines."""

    record: Str


@struct
class Waiting:
    """A guest that stands still until it is known where it runs. ``why``: what is waited for, for people."""

    name: Str
    uuid: UUIDBytes
    why: Str


@struct
class MigrationWaitingRet:
    """Every such guest of the host."""

    waiting: Annotated[list[Waiting], listed(Waiting, WAITING_MAX)]


@struct
class MigrationResolveArgs:
    """An operator's word for a guest that waits: it is to run on ``here`` (1), or it runs at the destination (0)."""

    dom: Domain
    here: Int


HELLO = Procedure(1, "HELLO", HelloArgs, HelloRet, before_open=True, acl="connect:getattr", read_only=True)
MIGRATION_ATTACH = Procedure(
    12,
    "MIGRATION_ATTACH",
    MigrationAttachArgs,
    Void,
    stream=StreamDirection.WRITE,
    before_open=True,
    acl="domain:migrate",
)
# The connection that carries this call becomes the data path: after the reply neither side speaks RPC on it.
MIGRATION_DIRECT = Procedure(
    13, "MIGRATION_DIRECT", MigrationAttachArgs, Void, wait=Wait.NORMAL, before_open=True, acl="domain:migrate"
)
# The same for a connection that becomes one channel of the pump route (``tunnel.frame``), anew after each cut.
MIGRATION_CHANNEL = Procedure(
    14,
    "MIGRATION_CHANNEL",
    MigrationChannelArgs,
    MigrationChannelRet,
    wait=Wait.NORMAL,
    before_open=True,
    acl="domain:migrate",
)
MIGRATION_OUTCOME = Procedure(
    15, "MIGRATION_OUTCOME", MigrationOutcomeArgs, MigrationOutcomeRet, before_open=True, acl="domain:migrate"
)

# A post-copy has lost its way: another one is made ready. Who has the grant may ask.
MIGRATION_RECOVER = Procedure(
    10, "MIGRATION_RECOVER", MigrationRecoverArgs, MigrationRecoverRet, wait=Wait.NORMAL, acl="domain:migrate"
)
# How fast and how far away the other end is, by the connection that a migration's calls go over.
MIGRATION_PROBE = Procedure(11, "MIGRATION_PROBE", MigrationProbeArgs, Void, acl="domain:migrate")
MIGRATION_HISTORY = Procedure(
    6,
    "MIGRATION_HISTORY",
    MigrationHistoryArgs,
    MigrationHistoryRet,
    acl="connect:read",
    acl_filter="domain:getattr",
    read_only=True,
)
MIGRATION_SHOW = Procedure(
    7,
    "MIGRATION_SHOW",
    MigrationShowArgs,
    MigrationShowRet,
    acl="connect:read",
    acl_filter="domain:getattr",
    read_only=True,
)
MIGRATION_WAITING = Procedure(
    8, "MIGRATION_WAITING", Void, MigrationWaitingRet, acl="connect:read", acl_filter="domain:getattr", read_only=True
)
MIGRATION_RESOLVE = Procedure(
    9, "MIGRATION_RESOLVE", MigrationResolveArgs, Void, wait=Wait.NORMAL, acl="domain:resolve"
)

PROGRAM = Program.of_modules(
    "CULVERT",
    0x20637576,  # " cuv": outside the ranges libvirt uses
    1,
    culvert_wire_1,
    sys.modules[__name__],
)


def wire(abilities: Collection[str]) -> int:
    """The newest form that a daemon with these abilities speaks and this one too; 1 for one that says none."""
    return max((number for number, word in enumerate(WIRES, 1) if word in abilities), default=1)


def wire_ability(number: int) -> str:
    """The ability of a daemon that speaks wire ``number``."""
    return f"wire-{number}"


WIRES = tuple(wire_ability(number) for number in range(1, WIRE + 1))
"""What each side says of it in HELLO, oldest first."""
