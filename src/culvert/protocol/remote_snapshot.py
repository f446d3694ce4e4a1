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


DOMAIN_SNAPSHOT_NUM = Procedure(
    187, "DOMAIN_SNAPSHOT_NUM", DomainFlagsArgs, NumRet, acl="domain:read", read_only=True
)
DOMAIN_SNAPSHOT_LIST_NAMES = Procedure(
    188, "DOMAIN_SNAPSHOT_LIST_NAMES", DomainMaxNamesArgs, NamesRet, acl="domain:read", read_only=True
)
DOMAIN_LIST_ALL_SNAPSHOTS = Procedure(
    274, "DOMAIN_LIST_ALL_SNAPSHOTS", DomainListAllArgs, DomainListAllSnapshotsRet, acl="domain:read", read_only=True
)
DOMAIN_SNAPSHOT_LOOKUP_BY_NAME = Procedure(
    189, "DOMAIN_SNAPSHOT_LOOKUP_BY_NAME", DomainNameArgs, SnapshotRet, acl="domain:read", read_only=True
)
DOMAIN_HAS_CURRENT_SNAPSHOT = Procedure(
    190, "DOMAIN_HAS_CURRENT_SNAPSHOT", DomainFlagsArgs, ResultRet, acl="domain:read", read_only=True
)
DOMAIN_SNAPSHOT_CURRENT = Procedure(
    191, "DOMAIN_SNAPSHOT_CURRENT", DomainFlagsArgs, SnapshotRet, acl="domain:read", read_only=True
)
DOMAIN_SNAPSHOT_CREATE_XML = Procedure(
    185,
    "DOMAIN_SNAPSHOT_CREATE_XML",
    DomainXMLFlagsArgs,
    SnapshotRet,
    acl="domain:snapshot domain:fs_freeze:VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE",
)
DOMAIN_SNAPSHOT_GET_XML_DESC = Procedure(
    186,
    "DOMAIN_SNAPSHOT_GET_XML_DESC",
    SnapshotFlagsArgs,
    XMLRet,
    acl="domain:read domain:read_secure:VIR_DOMAIN_SNAPSHOT_XML_SECURE",
    read_only=True,
)
DOMAIN_REVERT_TO_SNAPSHOT = Procedure(
    192, "DOMAIN_REVERT_TO_SNAPSHOT", SnapshotFlagsArgs, Void, acl="domain:snapshot"
)
DOMAIN_SNAPSHOT_DELETE = Procedure(193, "DOMAIN_SNAPSHOT_DELETE", SnapshotFlagsArgs, Void, acl="domain:snapshot")
DOMAIN_SNAPSHOT_GET_PARENT = Procedure(
    244, "DOMAIN_SNAPSHOT_GET_PARENT", SnapshotFlagsArgs, SnapshotRet, acl="domain:read", read_only=True
)
DOMAIN_SNAPSHOT_NUM_CHILDREN = Procedure(
    246, "DOMAIN_SNAPSHOT_NUM_CHILDREN", SnapshotFlagsArgs, NumRet, acl="domain:read", read_only=True
)
DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES = Procedure(
    247, "DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES", SnapshotMaxNamesArgs, NamesRet, acl="domain:read", read_only=True
)
DOMAIN_SNAPSHOT_IS_CURRENT = Procedure(
    271, "DOMAIN_SNAPSHOT_IS_CURRENT", SnapshotFlagsArgs, CurrentRet, acl="domain:read", read_only=True
)
DOMAIN_SNAPSHOT_HAS_METADATA = Procedure(
    272, "DOMAIN_SNAPSHOT_HAS_METADATA", SnapshotFlagsArgs, HasMetadataRet, acl="domain:read", read_only=True
)
DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN = Procedure(
    275,
    "DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN",
    SnapshotListAllArgs,
    DomainListAllSnapshotsRet,
    acl="domain:read",
    read_only=True,
)
DOMAIN_LIST_ALL_CHECKPOINTS = Procedure(
    413,
    "DOMAIN_LIST_ALL_CHECKPOINTS",
    DomainListAllArgs,
    DomainListAllCheckpointsRet,
    acl="domain:read",
    read_only=True,
)
DOMAIN_CHECKPOINT_LOOKUP_BY_NAME = Procedure(
    415, "DOMAIN_CHECKPOINT_LOOKUP_BY_NAME", DomainNameArgs, CheckpointRet, acl="domain:read", read_only=True
)
