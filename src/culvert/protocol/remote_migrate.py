"""REMOTE procedures of migration, in every version of the migration protocol.

Version 3 comes twice: with typed parameters (302–307, flags of 32 bits) and with fixed arguments (213–218, flags of
64 bits, ``resource`` = bandwidth in MiB/s). Versions 1 and 2 (62, 108, 109, 148) are here to be recognised and
refused: they have no cookies and no second chance for the source.

Source of every row: src/remote/remote_protocol.x of libvirt 9.0, ``REMOTE_PROC_`` and the row's name.
"""

from __future__ import annotations

from culvert.protocol.procedure import Procedure, StreamDirection, Wait
from culvert.protocol.shapes import (
    CookieRet,
    CookieURIRet,
    CookieXMLRet,
    DomainCookieRet,
)
from culvert.protocol.types import Cookie, Domain, Int, MigrateParams, OptStr, Str, UHyper, UInt, struct
from culvert.xdr.struct import Void


@struct
class Begin3ParamsArgs:
    dom: Domain
    params: MigrateParams
    flags: UInt


@struct
class Prepare3ParamsArgs:
    """Also of PREPARE_TUNNEL3_PARAMS, where the call's stream carries the guest."""

    params: MigrateParams
    cookie_in: Cookie
    flags: UInt


@struct
class Perform3ParamsArgs:
    """``dconnuri``: the destination daemon, when the source daemon is to drive all steps itself."""

    dom: Domain
    dconnuri: OptStr
    params: MigrateParams
    cookie_in: Cookie
    flags: UInt


@struct
class Finish3ParamsArgs:
    """``cancelled`` other than 0: clean up, and answer with the error MIGRATE_FINISH_OK."""

    params: MigrateParams
    cookie_in: Cookie
    flags: UInt
    cancelled: Int


@struct
class Confirm3ParamsArgs:
    """``cancelled`` other than 0: the guest stays here and runs on."""

    dom: Domain
    params: MigrateParams
    cookie_in: Cookie
    flags: UInt
    cancelled: Int


@struct
class Begin3Args:
    dom: Domain
    xmlin: OptStr
    flags: UHyper
    dname: OptStr
    resource: UHyper


@struct
class Prepare3Args:
    cookie_in: Cookie
    uri_in: OptStr
    flags: UHyper
    dname: OptStr
    resource: UHyper
    dom_xml: Str


@struct
class PrepareTunnel3Args:
    cookie_in: Cookie
    flags: UHyper
    dname: OptStr
    resource: UHyper
    dom_xml: Str


@struct
class Perform3Args:
    dom: Domain
    xmlin: OptStr
    cookie_in: Cookie
    dconnuri: OptStr
    uri: OptStr
    flags: UHyper
    dname: OptStr
    resource: UHyper


@struct
class Finish3Args:
    """``dname``: the domain's name at the destination, always given."""

    dname: Str
    cookie_in: Cookie
    dconnuri: OptStr
    uri: OptStr
    flags: UHyper
    cancelled: Int


@struct
class Confirm3Args:
    dom: Domain
    cookie_in: Cookie
    flags: UHyper
    cancelled: Int


@struct
class PerformArgs:
    dom: Domain
    cookie: Cookie
    uri: Str
    flags: UHyper
    dname: OptStr
    resource: UHyper


@struct
class Prepare2Args:
    uri_in: OptStr
    flags: UHyper
    dname: OptStr
    resource: UHyper
    dom_xml: Str


@struct
class Prepare2Ret:
    cookie: Cookie
    uri_out: OptStr


@struct
class Finish2Args:
    """``retcode`` other than 0: perform has failed."""

    dname: Str
    cookie: Cookie
    uri: Str
    flags: UHyper
    retcode: Int


@struct
class Finish2Ret:
    ddom: Domain


@struct
class PrepareTunnelArgs:
    flags: UHyper
    dname: OptStr
    resource: UHyper
    dom_xml: Str


# Version 3 with typed parameters.
DOMAIN_MIGRATE_BEGIN3_PARAMS = Procedure(
    302, "DOMAIN_MIGRATE_BEGIN3_PARAMS", Begin3ParamsArgs, CookieXMLRet, wait=Wait.NORMAL, acl="domain:migrate"
)
DOMAIN_MIGRATE_PREPARE3_PARAMS = Procedure(
    303,
    "DOMAIN_MIGRATE_PREPARE3_PARAMS",
    Prepare3ParamsArgs,
    CookieURIRet,
    wait=Wait.NORMAL,
    acl="domain:migrate domain:start domain:write",
)
DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS = Procedure(
    304,
    "DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS",
    Prepare3ParamsArgs,
    CookieRet,
    stream=StreamDirection.WRITE,
    wait=Wait.NORMAL,
    acl="domain:migrate domain:start domain:write",
)
DOMAIN_MIGRATE_PERFORM3_PARAMS = Procedure(
    305, "DOMAIN_MIGRATE_PERFORM3_PARAMS", Perform3ParamsArgs, CookieRet, wait=Wait.LONG, acl="domain:migrate"
)
DOMAIN_MIGRATE_FINISH3_PARAMS = Procedure(
    306, "DOMAIN_MIGRATE_FINISH3_PARAMS", Finish3ParamsArgs, DomainCookieRet, wait=Wait.NORMAL, acl="domain:migrate"
)
DOMAIN_MIGRATE_CONFIRM3_PARAMS = Procedure(
    307, "DOMAIN_MIGRATE_CONFIRM3_PARAMS", Confirm3ParamsArgs, Void, wait=Wait.NORMAL, acl="domain:migrate"
)

# Version 3 with fixed arguments.
DOMAIN_MIGRATE_BEGIN3 = Procedure(
    213, "DOMAIN_MIGRATE_BEGIN3", Begin3Args, CookieXMLRet, wait=Wait.NORMAL, acl="domain:migrate"
)
DOMAIN_MIGRATE_PREPARE3 = Procedure(
    214,
    "DOMAIN_MIGRATE_PREPARE3",
    Prepare3Args,
    CookieURIRet,
    wait=Wait.NORMAL,
    acl="domain:migrate domain:start domain:write",
)
DOMAIN_MIGRATE_PREPARE_TUNNEL3 = Procedure(
    215,
    "DOMAIN_MIGRATE_PREPARE_TUNNEL3",
    PrepareTunnel3Args,
    CookieRet,
    stream=StreamDirection.WRITE,
    wait=Wait.NORMAL,
    acl="domain:migrate domain:start domain:write",
)
DOMAIN_MIGRATE_PERFORM3 = Procedure(
    216, "DOMAIN_MIGRATE_PERFORM3", Perform3Args, CookieRet, wait=Wait.LONG, acl="domain:migrate"
)
DOMAIN_MIGRATE_FINISH3 = Procedure(
    217, "DOMAIN_MIGRATE_FINISH3", Finish3Args, DomainCookieRet, wait=Wait.NORMAL, acl="domain:migrate"
)
DOMAIN_MIGRATE_CONFIRM3 = Procedure(
    218, "DOMAIN_MIGRATE_CONFIRM3", Confirm3Args, Void, wait=Wait.NORMAL, acl="domain:migrate"
)

# Versions 1 and 2.
DOMAIN_MIGRATE_PERFORM = Procedure(
    62, "DOMAIN_MIGRATE_PERFORM", PerformArgs, Void, wait=Wait.LONG, acl="domain:migrate"
)
DOMAIN_MIGRATE_PREPARE2 = Procedure(
    108,
    "DOMAIN_MIGRATE_PREPARE2",
    Prepare2Args,
    Prepare2Ret,
    wait=Wait.NORMAL,
    acl="domain:migrate domain:start domain:write",
)
DOMAIN_MIGRATE_FINISH2 = Procedure(
    109, "DOMAIN_MIGRATE_FINISH2", Finish2Args, Finish2Ret, wait=Wait.NORMAL, acl="domain:migrate"
)
DOMAIN_MIGRATE_PREPARE_TUNNEL = Procedure(
    148,
    "DOMAIN_MIGRATE_PREPARE_TUNNEL",
    PrepareTunnelArgs,
    Void,
    stream=StreamDirection.WRITE,
    wait=Wait.NORMAL,
    acl="domain:migrate domain:start domain:write",
)
