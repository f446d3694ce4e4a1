"""Argument and result shapes that several procedures share.

The protocol file declares one struct per procedure; on the wire only the order and the types of the fields count, so
procedures whose fields agree use one class here. Field names are the protocol file's, written in snake case.
"""

from __future__ import annotations

from culvert.protocol import types
from culvert.protocol.types import Domain, Int, OptDomain, OptStr, Str, UHyper, UInt, struct


@struct
class FlagsArgs:
    """Only flags."""

    flags: UInt


@struct
class DomainArgs:
    """A domain and nothing else."""

    dom: Domain


@struct
class DomainFlagsArgs:
    """A domain and flags."""

    dom: Domain
    flags: UInt


@struct
class DomainRet:
    """A domain as it is now."""

    dom: Domain


@struct
class NumRet:
    """A count."""

    num: Int


@struct
class ListAllArgs:
    """CONNECT_LIST_ALL_*: with ``need_results`` 0 only the count is asked for."""

    need_results: Int
    flags: UInt


@struct
class XMLArgs:
    """A domain description."""

    xml: Str


@struct
class XMLFlagsArgs:
    """A domain description and flags."""

    xml: Str
    flags: UInt


@struct
class XMLRet:
    """A domain description."""

    xml: Str


@struct
class MemoryRet:
    """KiB."""

    memory: UHyper


@struct
class CapabilitiesRet:
    """XML."""

    capabilities: Str


@struct
class TypeRet:
    """A type's name: of the driver ("QEMU"), or of the guest's operating system ("hvm")."""

    type: Str


@struct
class EventIDArgs:
    """An event's number, for the whole connection (the old registrations without callback ids)."""

    event_id: Int


@struct
class CallbackIDArgs:
    """The registration that is meant."""

    callback_id: Int


@struct
class CallbackIDRet:
    """The number a registration goes by; events repeat it."""

    callback_id: Int


@struct
class CallbackRegisteredRet:
    """How many of the old registrations there are now on this connection."""

    cb_registered: Int


@struct
class DomainEventIDArgs:
    """An event's number, for one domain or for all."""

    event_id: Int
    dom: OptDomain


@struct
class CookieRet:
    """A migration cookie for the next step."""

    cookie_out: types.Cookie


@struct
class CookieURIRet:
    """A migration cookie, and where QEMU listens (absent where it does not)."""

    cookie_out: types.Cookie
    uri_out: OptStr


@struct
class CookieXMLRet:
    """A migration cookie and the description to prepare."""

    cookie_out: types.Cookie
    xml: Str


@struct
class DomainCookieRet:
    """The domain as it runs now, and the last cookie."""

    dom: Domain
    cookie_out: types.Cookie
