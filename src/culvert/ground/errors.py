"""What can go wrong, by whose fault, with libvirt's code for it.

::

    CulvertError
    ├── RequestError            the request is refused or failed; the connection lives on
    │   ├── one class per libvirt error code culvert raises (``code``, ``domain``)
    │   └── RemoteError         another daemon's refusal, carried on unchanged
    ├── ProtocolViolation       the peer broke the protocol; the connection ends
    └── ConnectionLost          the connection is gone (also a RequestError: it reaches the person who asked)

Codes and domains are libvirt's ``virErrorNumber`` and ``virErrorDomain`` (include/libvirt/virterror.h).
The text is what a person reads: it names the object and the phase.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ErrorDomain(IntEnum):
    """``virErrorDomain``: which part of libvirt speaks."""

    NONE = 0
    XML = 5
    RPC = 7
    QEMU = 10
    REMOTE = 13
    STORAGE = 18
    NETWORK = 19
    DOMAIN = 20
    NODEDEV = 22
    INTERFACE = 26
    SECRET = 30
    CPU = 31
    NWFILTER = 33
    DOMAIN_SNAPSHOT = 35
    STREAMS = 38
    EVENT = 40
    URI = 45
    AUTH = 46


class ErrorCode(IntEnum):
    """``virErrorNumber``: what happened."""

    INTERNAL_ERROR = 1
    NO_MEMORY = 2
    NO_SUPPORT = 3
    INVALID_ARG = 8
    OPERATION_FAILED = 9
    NO_SOURCE = 19
    XML_ERROR = 27
    XML_DETAIL = 35
    DOM_EXIST = 28
    OPERATION_DENIED = 29
    SYSTEM_ERROR = 38
    RPC = 39
    NO_DOMAIN = 42
    NO_NETWORK = 43
    AUTH_FAILED = 45
    NO_STORAGE_POOL = 49
    NO_STORAGE_VOL = 50
    NO_NODE_DEVICE = 53
    OPERATION_INVALID = 55
    NO_INTERFACE = 57
    NO_NWFILTER = 62
    INVALID_SECRET = 65
    NO_SECRET = 66
    CONFIG_UNSUPPORTED = 67
    OPERATION_TIMEOUT = 68
    MIGRATE_PERSIST_FAILED = 69
    NO_DOMAIN_SNAPSHOT = 72
    INVALID_STREAM = 73
    ARGUMENT_UNSUPPORTED = 74
    SNAPSHOT_REVERT_RISKY = 77
    OPERATION_ABORTED = 78
    NO_DOMAIN_METADATA = 80
    MIGRATE_UNSAFE = 81
    OVERFLOW = 82
    OPERATION_UNSUPPORTED = 84
    AGENT_UNRESPONSIVE = 86
    RESOURCE_BUSY = 87
    ACCESS_DENIED = 88
    STORAGE_VOL_EXIST = 90
    CPU_INCOMPATIBLE = 91
    MIGRATE_FINISH_OK = 93
    AUTH_UNAVAILABLE = 94
    DEVICE_MISSING = 99
    NO_NWFILTER_BINDING = 101
    NO_DOMAIN_CHECKPOINT = 103
    NO_NETWORK_PORT = 107
    NO_HOSTNAME = 108


class CulvertError(Exception):
    """Root of everything culvert raises on purpose."""


class RequestError(CulvertError):
    """A request is refused or has failed; the connection it came on lives on.

    ``code`` and ``domain`` are what a libvirt client sees; ``errno`` travels as ``int1`` where there is one.
    """

    code: ClassVar[int] = ErrorCode.OPERATION_FAILED
    domain: ClassVar[int] = ErrorDomain.QEMU

    def __init__(self, message: str, *, errno: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.errno = errno


class InternalError(RequestError):
    code = ErrorCode.INTERNAL_ERROR


class NoSupport(RequestError):
    """What libvirt has and culvert, or culvert for this, has not: not "unknown procedure", which is of the wire."""

    code = ErrorCode.NO_SUPPORT


class InvalidArgument(RequestError):
    code = ErrorCode.INVALID_ARG


class OperationFailed(RequestError):
    code = ErrorCode.OPERATION_FAILED


class GuestEnded(OperationFailed):
    """What was under way has failed because the guest itself has ended.

    Not OPERATION_FAILED: libvirt's client then takes what the destination says of it for the better reason
    (virDomainMigrateVersion3Full).
    """

    code = ErrorCode.OPERATION_INVALID


class OperationInvalid(RequestError):
    """The object is in a state in which this makes no sense."""

    code = ErrorCode.OPERATION_INVALID


class OperationTimeout(RequestError):
    code = ErrorCode.OPERATION_TIMEOUT


class OperationAborted(RequestError):
    """The person who asked for it has cancelled it."""

    code = ErrorCode.OPERATION_ABORTED


class OperationUnsupported(RequestError):
    code = ErrorCode.OPERATION_UNSUPPORTED


class OperationDenied(RequestError):
    """The connection is read-only."""

    code = ErrorCode.OPERATION_DENIED


class ArgumentUnsupported(RequestError):
    code = ErrorCode.ARGUMENT_UNSUPPORTED


class ConfigUnsupported(RequestError):
    """The domain XML asks for what this host or this version cannot do."""

    code = ErrorCode.CONFIG_UNSUPPORTED


class XMLError(RequestError):
    """The XML is not a domain description."""

    code = ErrorCode.XML_ERROR
    domain = ErrorDomain.DOMAIN


class XMLDetail(RequestError):
    """A part of the XML lacks another part."""

    code = ErrorCode.XML_DETAIL
    domain = ErrorDomain.DOMAIN


class NoSource(RequestError):
    """A disk has no image."""

    code = ErrorCode.NO_SOURCE
    domain = ErrorDomain.DOMAIN


class NoDomain(RequestError):
    code = ErrorCode.NO_DOMAIN


class NoDomainMetadata(RequestError):
    code = ErrorCode.NO_DOMAIN_METADATA


class NoDomainSnapshot(RequestError):
    code = ErrorCode.NO_DOMAIN_SNAPSHOT


class NoDomainCheckpoint(RequestError):
    code = ErrorCode.NO_DOMAIN_CHECKPOINT


class NoNetwork(RequestError):
    code = ErrorCode.NO_NETWORK
    domain = ErrorDomain.NETWORK


class NoNetworkPort(RequestError):
    code = ErrorCode.NO_NETWORK_PORT
    domain = ErrorDomain.NETWORK


class NoHostname(RequestError):
    code = ErrorCode.NO_HOSTNAME


class NoStoragePool(RequestError):
    code = ErrorCode.NO_STORAGE_POOL
    domain = ErrorDomain.STORAGE


class NoStorageVol(RequestError):
    code = ErrorCode.NO_STORAGE_VOL
    domain = ErrorDomain.STORAGE


class StorageVolExists(RequestError):
    """A volume of that name is there."""

    code = ErrorCode.STORAGE_VOL_EXIST
    domain = ErrorDomain.STORAGE


class Overflow(RequestError):
    """A number is larger than can be counted."""

    code = ErrorCode.OVERFLOW


class SnapshotRevertRisky(RequestError):
    """A revert that may harm the guest, and that was not forced."""

    code = ErrorCode.SNAPSHOT_REVERT_RISKY


class NoNodeDevice(RequestError):
    code = ErrorCode.NO_NODE_DEVICE
    domain = ErrorDomain.NODEDEV


class NoInterface(RequestError):
    code = ErrorCode.NO_INTERFACE
    domain = ErrorDomain.INTERFACE


class NoNwfilter(RequestError):
    """Of this domain alone: clients take code 62 of any other for a newer one (remote/remote_driver.c)."""

    code = ErrorCode.NO_NWFILTER
    domain = ErrorDomain.NWFILTER


class NoNwfilterBinding(RequestError):
    code = ErrorCode.NO_NWFILTER_BINDING
    domain = ErrorDomain.NWFILTER


class NoSecret(RequestError):
    code = ErrorCode.NO_SECRET
    domain = ErrorDomain.SECRET


class InvalidSecret(RequestError):
    """A secret of another kind, or one that is told to nobody."""

    code = ErrorCode.INVALID_SECRET
    domain = ErrorDomain.SECRET


class DeviceMissing(RequestError):
    """The device that a change is about is not there."""

    code = ErrorCode.DEVICE_MISSING


class AgentUnresponsive(RequestError):
    """There is no guest agent, or it does not answer."""

    code = ErrorCode.AGENT_UNRESPONSIVE


class DomainExists(RequestError):
    """A domain of that name or UUID is already there."""

    code = ErrorCode.OPERATION_FAILED


class ResourceBusy(RequestError):
    code = ErrorCode.RESOURCE_BUSY


class AuthenticationFailed(RequestError):
    code = ErrorCode.AUTH_FAILED
    domain = ErrorDomain.RPC


class AccessDenied(RequestError):
    """This peer may not do that."""

    code = ErrorCode.ACCESS_DENIED


class SystemCallError(RequestError):
    """A system call failed; ``errno`` says how."""

    code = ErrorCode.SYSTEM_ERROR


class MigrateUnsafe(RequestError):
    """Migration could lose data (disks not shared, or cached): refused unless asked with ``UNSAFE``."""

    code = ErrorCode.MIGRATE_UNSAFE


class CpuIncompatible(RequestError):
    """This host has no such CPU as the guest has."""

    code = ErrorCode.CPU_INCOMPATIBLE
    domain = ErrorDomain.CPU


class MigrateFinishOk(RequestError):
    """Finish was called with ``cancelled`` and everything is cleaned up: an error reply that means success."""

    code = ErrorCode.MIGRATE_FINISH_OK


class CPUIncompatible(RequestError):
    """The host's processor lacks what is asked for."""

    code = ErrorCode.CPU_INCOMPATIBLE
    domain = ErrorDomain.CPU


class RpcError(RequestError):
    """The call itself is wrong: not decodable, not known, not allowed yet."""

    code = ErrorCode.RPC
    domain = ErrorDomain.RPC


class NotOpen(RequestError):
    """A call before CONNECT_OPEN."""

    code = ErrorCode.INTERNAL_ERROR
    domain = ErrorDomain.RPC


class StreamFailed(RequestError):
    """A stream ended abnormally: the other end aborted or failed, or the bytes could not be passed on."""

    code = ErrorCode.SYSTEM_ERROR
    domain = ErrorDomain.STREAMS


class InvalidStream(RequestError):
    """A stream was used against its state or direction."""

    code = ErrorCode.INVALID_STREAM
    domain = ErrorDomain.STREAMS


class ConnectionLost(RequestError):
    """The connection to a peer is gone; nothing more is known of calls that were under way."""

    code = ErrorCode.INTERNAL_ERROR
    domain = ErrorDomain.RPC


class RemoteError(RequestError):
    """A refusal that another daemon sent; code, domain and text are that daemon's own."""

    def __init__(self, message: str, *, code: int, domain: int, errno: int | None = None) -> None:
        super().__init__(message, errno=errno)
        self.remote_code = code
        self.remote_domain = domain


class ProtocolViolation(CulvertError):
    """The peer broke the protocol: the connection is closed with this reason, and nobody else is harmed."""


# What a libvirt message of each code begins with (util/virerror.c, virErrorMsg): people and scripts know them by it.
PREFIXES: dict[int, str] = {
    ErrorCode.INTERNAL_ERROR: "internal error",
    ErrorCode.NO_SUPPORT: "this function is not supported by the connection driver",
    ErrorCode.INVALID_ARG: "invalid argument",
    ErrorCode.OPERATION_FAILED: "operation failed",
    ErrorCode.NO_SOURCE: "missing source information for device",
    ErrorCode.XML_ERROR: "XML error",
    ErrorCode.NO_DOMAIN: "Domain not found",
    ErrorCode.NO_NETWORK: "Network not found",
    ErrorCode.AUTH_FAILED: "authentication failed",
    ErrorCode.NO_STORAGE_POOL: "Storage pool not found",
    ErrorCode.NO_STORAGE_VOL: "Storage volume not found",
    ErrorCode.OVERFLOW: "numerical overflow",
    ErrorCode.SNAPSHOT_REVERT_RISKY: "revert requires force",
    ErrorCode.NO_NODE_DEVICE: "Node device not found",
    ErrorCode.OPERATION_INVALID: "Requested operation is not valid",
    ErrorCode.NO_INTERFACE: "Interface not found",
    ErrorCode.NO_NWFILTER: "Network filter not found",
    ErrorCode.INVALID_SECRET: "Invalid secret",
    ErrorCode.NO_SECRET: "Secret not found",
    ErrorCode.CONFIG_UNSUPPORTED: "unsupported configuration",
    ErrorCode.OPERATION_TIMEOUT: "Timed out during operation",
    ErrorCode.NO_DOMAIN_SNAPSHOT: "Domain snapshot not found",
    ErrorCode.ARGUMENT_UNSUPPORTED: "argument unsupported",
    ErrorCode.OPERATION_ABORTED: "operation aborted",
    ErrorCode.NO_DOMAIN_METADATA: "metadata not found",
    ErrorCode.MIGRATE_UNSAFE: "Unsafe migration",
    ErrorCode.OPERATION_UNSUPPORTED: "Operation not supported",
    ErrorCode.AGENT_UNRESPONSIVE: "Guest agent is not responding",
    ErrorCode.RESOURCE_BUSY: "resource busy",
    ErrorCode.ACCESS_DENIED: "access denied",
    ErrorCode.CPU_INCOMPATIBLE: "the CPU is incompatible with host CPU",
    ErrorCode.DEVICE_MISSING: "device not found",
    ErrorCode.NO_NWFILTER_BINDING: "Network filter binding not found",
    ErrorCode.NO_DOMAIN_CHECKPOINT: "Domain checkpoint not found",
    ErrorCode.NO_NETWORK_PORT: "network port not found",
    ErrorCode.NO_HOSTNAME: "no hostname found",
}


def triple(error: RequestError) -> tuple[int, int, str]:
    """The (code, domain, message) that goes on the wire for ``error``: the message as libvirt words that code.

    What another daemon said (``RemoteError``) and what concerns the protocol itself stays as it is.
    """
    if isinstance(error, RemoteError):
        return error.remote_code, error.remote_domain, error.message
    plain = error.domain in (ErrorDomain.NONE, ErrorDomain.RPC)
    prefix = "" if plain else PREFIXES.get(error.code, "")
    if prefix and not error.message.startswith(prefix):
        return int(error.code), int(error.domain), f"{prefix}: {error.message}"
    return int(error.code), int(error.domain), error.message
