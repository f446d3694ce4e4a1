"""REMOTE procedures about a domain's snapshots and checkpoints.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from typing import Annotated

from culvert.protocol import types
from culvert.protocol.procedure import Procedure
from culvert.protocol.remote_list import NamesRet
from culvert.protocol.shapes import DomainFlagsArgs, NumRet, XMLRet
from culvert.protocol.types import Domain, Int, Str, UInt, listed, struct
from culvert.xdr.struct import Void


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


@struct
class SnapshotFlagsArgs:
    snap: types.DomainSnapshot
    flags: UInt


@struct
class SnapshotMaxNamesArgs:
    snap: types.DomainSnapshot
    maxnames: Int
    flags: UInt


@struct
class SnapshotListAllArgs:
    snapshot: types.DomainSnapshot
    need_results: Int
    flags: UInt


@struct
class DomainXMLFlagsArgs:
    dom: Domain
    xml_desc: Str
    flags: UInt


@struct
class CurrentRet:
    """1: the guest was begun from it last."""

    current: Int


@struct
class HasMetadataRet:
    """1: the daemon keeps something of it."""

    metadata: Int


DOMAIN_SNAPSHOT_NUM = Procedure(187, "DOMAIN_SNAPSHOT_NUM", DomainFlagsArgs, NumRet)
DOMAIN_SNAPSHOT_LIST_NAMES = Procedure(188, "DOMAIN_SNAPSHOT_LIST_NAMES", DomainMaxNamesArgs, NamesRet)
DOMAIN_LIST_ALL_SNAPSHOTS = Procedure(274, "DOMAIN_LIST_ALL_SNAPSHOTS", DomainListAllArgs, DomainListAllSnapshotsRet)
DOMAIN_SNAPSHOT_LOOKUP_BY_NAME = Procedure(189, "DOMAIN_SNAPSHOT_LOOKUP_BY_NAME", DomainNameArgs, SnapshotRet)
DOMAIN_HAS_CURRENT_SNAPSHOT = Procedure(190, "DOMAIN_HAS_CURRENT_SNAPSHOT", DomainFlagsArgs, ResultRet)
DOMAIN_SNAPSHOT_CURRENT = Procedure(191, "DOMAIN_SNAPSHOT_CURRENT", DomainFlagsArgs, SnapshotRet)
DOMAIN_SNAPSHOT_CREATE_XML = Procedure(
    185, "DOMAIN_SNAPSHOT_CREATE_XML", DomainXMLFlagsArgs, SnapshotRet, read_only=False
)
DOMAIN_SNAPSHOT_GET_XML_DESC = Procedure(186, "DOMAIN_SNAPSHOT_GET_XML_DESC", SnapshotFlagsArgs, XMLRet)
DOMAIN_REVERT_TO_SNAPSHOT = Procedure(192, "DOMAIN_REVERT_TO_SNAPSHOT", SnapshotFlagsArgs, Void, read_only=False)
DOMAIN_SNAPSHOT_DELETE = Procedure(193, "DOMAIN_SNAPSHOT_DELETE", SnapshotFlagsArgs, Void, read_only=False)
DOMAIN_SNAPSHOT_GET_PARENT = Procedure(244, "DOMAIN_SNAPSHOT_GET_PARENT", SnapshotFlagsArgs, SnapshotRet)
DOMAIN_SNAPSHOT_NUM_CHILDREN = Procedure(246, "DOMAIN_SNAPSHOT_NUM_CHILDREN", SnapshotFlagsArgs, NumRet)
DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES = Procedure(
    247, "DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES", SnapshotMaxNamesArgs, NamesRet
)
DOMAIN_SNAPSHOT_IS_CURRENT = Procedure(271, "DOMAIN_SNAPSHOT_IS_CURRENT", SnapshotFlagsArgs, CurrentRet)
DOMAIN_SNAPSHOT_HAS_METADATA = Procedure(272, "DOMAIN_SNAPSHOT_HAS_METADATA", SnapshotFlagsArgs, HasMetadataRet)
DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN = Procedure(
    275, "DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN", SnapshotListAllArgs, DomainListAllSnapshotsRet
)
DOMAIN_LIST_ALL_CHECKPOINTS = Procedure(
    413, "DOMAIN_LIST_ALL_CHECKPOINTS", DomainListAllArgs, DomainListAllCheckpointsRet
)
DOMAIN_CHECKPOINT_LOOKUP_BY_NAME = Procedure(415, "DOMAIN_CHECKPOINT_LOOKUP_BY_NAME", DomainNameArgs, CheckpointRet)
