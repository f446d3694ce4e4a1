"""How culvert 0.1.0 opens a data connection and asks for an outcome. Served, and asked of such a daemon.

A channel is a number: 0 is the main channel, the others come in the order in which QEMU opens them
(``channels.plan``). Since wire 2 a channel has a kind and a name: the rows without a number in ``culvert``. Who asks
for an outcome shows nothing, and is told it of a migration whose source speaks wire 1.
"""

from __future__ import annotations

from culvert.protocol.procedure import Procedure, StreamDirection, Wait
from culvert.protocol.types import Domain, Int, Str, UHyper, UInt, struct
from culvert.xdr.struct import Void


@struct
class MigrationAttach1Args:
    """``token``: made of the ticket in the URI that prepare answered, good for one use; ``channel`` from 0."""

    token: Str
    channel: UInt


@struct
class MigrationChannel1Args:
    """As ``MigrationAttach1Args``; ``received``: bytes of the destination's that the source has already."""

    token: Str
    channel: UInt
    received: UHyper


@struct
class MigrationChannel1Ret:
    """``received``: bytes of the source's that the destination has already; it goes on from there."""

    received: UHyper


@struct
class MigrationOutcome1Args:
    """``dom``: the domain as the source knows it; ``attempt``: of its cookies."""

    dom: Domain
    attempt: Str


@struct
class MigrationOutcome1Ret:
    """``outcome`` an ``Outcome``; ``detail``: the reason, for people; may be empty."""

    outcome: Int
    detail: Str


MIGRATION_ATTACH_1 = Procedure(
    2,
    "MIGRATION_ATTACH_1",
    MigrationAttach1Args,
    Void,
    stream=StreamDirection.WRITE,
    before_open=True,
    acl="domain:migrate",
)
MIGRATION_DIRECT_1 = Procedure(
    4, "MIGRATION_DIRECT_1", MigrationAttach1Args, Void, wait=Wait.NORMAL, before_open=True, acl="domain:migrate"
)
MIGRATION_CHANNEL_1 = Procedure(
    5,
    "MIGRATION_CHANNEL_1",
    MigrationChannel1Args,
    MigrationChannel1Ret,
    wait=Wait.NORMAL,
    before_open=True,
    acl="domain:migrate",
)
MIGRATION_OUTCOME_1 = Procedure(
    3, "MIGRATION_OUTCOME_1", MigrationOutcome1Args, MigrationOutcome1Ret, before_open=True, acl="domain:migrate"
)
