"""REMOTE procedures about a domain's snapshots and checkpoints.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from typing import Annotated

from culvert.protocol import types
from culvert.protocol.procedure import Procedure
from culvert.protocol.remote_list import NamesRet
from culvert.protocol.shapes import DomainFlagsArgs, NumRet
from culvert.protocol.types import Domain, Int, Str, UInt, listed, struct


@struct
class DomainCheckpoint:
    """``remote_nonnull_domain_checkpoint``."""

    name: Str
    dom: Domain


@struct
class DomainListAllArgs:
    """With ``need_results`` 0 only the count is asked for."""

    dom: Domain
    need_results: Int
    flags: UInt


@struct
class DomainListAllSnapshotsRet:
    snapshots: Annotated[list[types.DomainSnapshot], listed(types.DomainSnapshot, 16384)]
    ret: Int


@struct
class DomainListAllCheckpointsRet:
    checkpoints: Annotated[list[DomainCheckpoint], listed(DomainCheckpoint, 16384)]
    ret: Int


@struct
class DomainMaxNamesArgs:
    dom: Domain
    maxnames: Int
    flags: UInt


@struct
class DomainNameArgs:
    """``name``: of a snapshot or a checkpoint."""

    dom: Domain
    name: Str
    flags: UInt


@struct
class ResultRet:
    """1 or 0."""

    result: Int


@struct
class SnapshotRet:
    snap: types.DomainSnapshot


@struct
class CheckpointRet:
    checkpoint: DomainCheckpoint


DOMAIN_SNAPSHOT_NUM = Procedure(187, "DOMAIN_SNAPSHOT_NUM", DomainFlagsArgs, NumRet)
DOMAIN_SNAPSHOT_LIST_NAMES = Procedure(188, "DOMAIN_SNAPSHOT_LIST_NAMES", DomainMaxNamesArgs, NamesRet)
DOMAIN_LIST_ALL_SNAPSHOTS = Procedure(274, "DOMAIN_LIST_ALL_SNAPSHOTS", DomainListAllArgs, DomainListAllSnapshotsRet)
DOMAIN_SNAPSHOT_LOOKUP_BY_NAME = Procedure(189, "DOMAIN_SNAPSHOT_LOOKUP_BY_NAME", DomainNameArgs, SnapshotRet)
DOMAIN_HAS_CURRENT_SNAPSHOT = Procedure(190, "DOMAIN_HAS_CURRENT_SNAPSHOT", DomainFlagsArgs, ResultRet)
DOMAIN_SNAPSHOT_CURRENT = Procedure(191, "DOMAIN_SNAPSHOT_CURRENT", DomainFlagsArgs, SnapshotRet)
DOMAIN_LIST_ALL_CHECKPOINTS = Procedure(
    413, "DOMAIN_LIST_ALL_CHECKPOINTS", DomainListAllArgs, DomainListAllCheckpointsRet
)
DOMAIN_CHECKPOINT_LOOKUP_BY_NAME = Procedure(415, "DOMAIN_CHECKPOINT_LOOKUP_BY_NAME", DomainNameArgs, CheckpointRet)
