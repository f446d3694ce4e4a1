"""REMOTE procedures that put a domain, or its memory, into a file, take it out again, and look into it.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from typing import Annotated

from culvert.ground.units import MiB
from culvert.protocol import types
from culvert.protocol.procedure import Procedure, Wait
from culvert.protocol.shapes import DomainFlagsArgs, XMLRet
from culvert.protocol.types import Domain, Int, OptStr, Str, UHyper, UInt, listed, struct
from culvert.xdr import codec
from culvert.xdr.struct import Void

PEEK_MAX = 4 * MiB  # REMOTE_DOMAIN_MEMORY_PEEK_BUFFER_MAX, REMOTE_DOMAIN_BLOCK_PEEK_BUFFER_MAX


@struct
class DomainSaveArgs:
    """``to``: a file of the daemon's host."""

    dom: Domain
    to: Str


@struct
class DomainSaveFlagsArgs:
    """``dxml``: a description to keep in the place of the domain's own."""

    dom: Domain
    to: Str
    dxml: OptStr
    flags: UInt


@struct
class DomainSaveParamsArgs:
    dom: Domain
    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 64)]  # REMOTE_DOMAIN_SAVE_PARAMS_MAX
    flags: UInt


@struct
class DomainRestoreArgs:
    """``origin``: the protocol file's ``from``."""

    origin: Str


@struct
class DomainRestoreFlagsArgs:
    origin: Str
    dxml: OptStr
    flags: UInt


@struct
class DomainRestoreParamsArgs:
    params: Annotated[list[types.TypedParam], listed(types.TypedParam, 64)]  # REMOTE_DOMAIN_RESTORE_PARAMS_MAX
    flags: UInt


@struct
class SaveImageArgs:
    file: Str
    flags: UInt


@struct
class SaveImageDefineArgs:
    file: Str
    dxml: Str
    flags: UInt


@struct
class ManagedSaveDefineArgs:
    dom: Domain
    dxml: OptStr
    flags: UInt


@struct
class ManagedSaveRet:
    """1 when there is an image."""

    result: Int


@struct
class DomainCoreDumpArgs:
    """``to``: a file of the daemon's host."""

    dom: Domain
    to: Str
    flags: UInt


@struct
class DomainCoreDumpWithFormatArgs:
    """``dumpformat``: a ``constants_flag.DumpFormat``."""

    dom: Domain
    to: Str
    dumpformat: UInt
    flags: UInt


@struct
class DomainMemoryPeekArgs:
    """Bytes; ``flags``: a ``constants_flag.PeekFlag``."""

    dom: Domain
    offset: UHyper
    size: UInt
    flags: UInt


@struct
class DomainBlockPeekArgs:
    """Bytes; ``path``: the disk's source or its target's name."""

    dom: Domain
    path: Str
    offset: UHyper
    size: UInt
    flags: UInt


@struct
class PeekRet:
    buffer: Annotated[bytes, codec.Opaque(PEEK_MAX)]


DOMAIN_SAVE = Procedure(55, "DOMAIN_SAVE", DomainSaveArgs, Void, wait=Wait.LONG, acl="domain:hibernate")
DOMAIN_SAVE_FLAGS = Procedure(
    232, "DOMAIN_SAVE_FLAGS", DomainSaveFlagsArgs, Void, wait=Wait.LONG, acl="domain:hibernate"
)
DOMAIN_SAVE_PARAMS = Procedure(
    440, "DOMAIN_SAVE_PARAMS", DomainSaveParamsArgs, Void, wait=Wait.LONG, acl="domain:hibernate"
)
DOMAIN_RESTORE = Procedure(
    54, "DOMAIN_RESTORE", DomainRestoreArgs, Void, wait=Wait.LONG, acl="domain:start domain:write"
)
DOMAIN_RESTORE_FLAGS = Procedure(
    233, "DOMAIN_RESTORE_FLAGS", DomainRestoreFlagsArgs, Void, wait=Wait.LONG, acl="domain:start domain:write"
)
DOMAIN_RESTORE_PARAMS = Procedure(
    441, "DOMAIN_RESTORE_PARAMS", DomainRestoreParamsArgs, Void, wait=Wait.LONG, acl="domain:start domain:write"
)
DOMAIN_SAVE_IMAGE_GET_XML_DESC = Procedure(
    235, "DOMAIN_SAVE_IMAGE_GET_XML_DESC", SaveImageArgs, XMLRet, acl="domain:write"
)
DOMAIN_SAVE_IMAGE_DEFINE_XML = Procedure(
    236, "DOMAIN_SAVE_IMAGE_DEFINE_XML", SaveImageDefineArgs, Void, acl="domain:write domain:hibernate"
)
DOMAIN_MANAGED_SAVE = Procedure(
    182, "DOMAIN_MANAGED_SAVE", DomainFlagsArgs, Void, wait=Wait.LONG, acl="domain:hibernate"
)
DOMAIN_HAS_MANAGED_SAVE_IMAGE = Procedure(
    183, "DOMAIN_HAS_MANAGED_SAVE_IMAGE", DomainFlagsArgs, ManagedSaveRet, acl="domain:read", read_only=True
)
DOMAIN_MANAGED_SAVE_REMOVE = Procedure(
    184, "DOMAIN_MANAGED_SAVE_REMOVE", DomainFlagsArgs, Void, acl="domain:hibernate"
)
DOMAIN_MANAGED_SAVE_GET_XML_DESC = Procedure(
    388,
    "DOMAIN_MANAGED_SAVE_GET_XML_DESC",
    DomainFlagsArgs,
    XMLRet,
    acl="domain:read domain:read_secure:VIR_DOMAIN_SAVE_IMAGE_XML_SECURE",
    read_only=True,
)
DOMAIN_MANAGED_SAVE_DEFINE_XML = Procedure(
    389, "DOMAIN_MANAGED_SAVE_DEFINE_XML", ManagedSaveDefineArgs, Void, acl="domain:write domain:hibernate"
)
DOMAIN_CORE_DUMP = Procedure(
    53, "DOMAIN_CORE_DUMP", DomainCoreDumpArgs, Void, wait=Wait.NORMAL, acl="domain:core_dump"
)
DOMAIN_CORE_DUMP_WITH_FORMAT = Procedure(
    334, "DOMAIN_CORE_DUMP_WITH_FORMAT", DomainCoreDumpWithFormatArgs, Void, wait=Wait.NORMAL, acl="domain:core_dump"
)
DOMAIN_BLOCK_PEEK = Procedure(103, "DOMAIN_BLOCK_PEEK", DomainBlockPeekArgs, PeekRet, acl="domain:block_read")
DOMAIN_MEMORY_PEEK = Procedure(104, "DOMAIN_MEMORY_PEEK", DomainMemoryPeekArgs, PeekRet, acl="domain:mem_read")
