"""culvert's own program: what two culverts say to each other beside libvirt's protocol.

A daemon that does not know the program answers "Cannot find program" and the connection lives on
(``errors.is_unsupported``); then the standard stream of the standard protocol is used. Everything here is legal
before CONNECT_OPEN, so that a data connection needs no more than authentication, and nothing is legal before that.
"""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import Annotated

from culvert.protocol.procedure import Procedure, Program, StreamDirection, Wait
from culvert.protocol.types import Domain, Int, Str, UHyper, UInt, listed, struct
from culvert.xdr.struct import Void

ABILITIES_MAX = 64

Abilities = Annotated[list[str], listed(Str, ABILITIES_MAX)]
"""Names of what a daemon can do; unknown names are ignored by the other side."""


class Outcome(IntEnum):
    """What became of an incoming migration, as its destination knows it."""

    UNKNOWN = 0  # no migration of that token was ever prepared here, or its memory has expired
    PENDING = 1  # prepared; finish has not been decided
    RUNNING = 2  # finish said yes: the guest belongs here
    GONE = 3  # finish said no, or the incoming QEMU is gone: the guest is not here and will not be


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
    """``token``: made of the ticket in the URI that prepare answered, good for one use; ``channel`` from 0."""

    token: Str
    channel: UInt


@struct
class MigrationChannelArgs:
    """As ``MigrationAttachArgs``; ``received``: bytes of the destination's that the source has already."""

    token: Str
    channel: UInt
    received: UHyper


@struct
class MigrationChannelRet:
    """``received``: bytes of the source's that the destination has already; it goes on from there."""

    received: UHyper


@struct
class MigrationOutcomeArgs:
    """``dom``: the domain as the source knows it; ``token``: of the migration in question."""

    dom: Domain
    token: Str


@struct
class MigrationOutcomeRet:
    """``outcome`` an ``Outcome``; ``detail``: the reason, for people; may be empty."""

    outcome: Int
    detail: Str


HELLO = Procedure(1, "HELLO", HelloArgs, HelloRet, before_open=True)
MIGRATION_ATTACH = Procedure(
    2,
    "MIGRATION_ATTACH",
    MigrationAttachArgs,
    Void,
    stream=StreamDirection.WRITE,
    before_open=True,
    read_only=False,
)
# The connection that carries this call becomes the data path: after the reply neither side speaks RPC on it.
MIGRATION_DIRECT = Procedure(
    4, "MIGRATION_DIRECT", MigrationAttachArgs, Void, wait=Wait.NORMAL, before_open=True, read_only=False
)
# The same for a connection that becomes one channel of the pump route (``tunnel.frame``), anew after each cut.
MIGRATION_CHANNEL = Procedure(
    5,
    "MIGRATION_CHANNEL",
    MigrationChannelArgs,
    MigrationChannelRet,
    wait=Wait.NORMAL,
    before_open=True,
    read_only=False,
)
MIGRATION_OUTCOME = Procedure(3, "MIGRATION_OUTCOME", MigrationOutcomeArgs, MigrationOutcomeRet, before_open=True)

PROGRAM = Program.of_modules(
    "CULVERT",
    0x20637576,  # " cuv": outside the ranges libvirt uses
    1,
    sys.modules[__name__],
)
