"""Where the bytes of a disk are: ``<source>`` of every type, with who may open it (``<auth>``) and what it is
encrypted with (``<encryption>``); and the images below one another.

Source: docs/formatdomain, "Hard drives, floppy disks, CDROMs"; docs/formatstorageencryption; conf/domain_conf.c
(virDomainDiskSourceFormat) for the order of output.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Annotated, Any

from culvert.domain.binding import ANY, attribute, child, children, content, lone, nested
from culvert.domain.scalars import ANY_TEXT, PATH, TEXT, UINT, ULONG, UUID, YES_NO, Integer, one_of
from culvert.ground import errors

# Those of libvirt's formats that QEMU opens; "vhd" and "ploop" are QEMU's vhdx and parallels.
FORMATS = one_of("raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vpc", "vhd", "ploop", "bochs", "cloop", "dmg")
BACKED = frozenset({"qcow2", "qcow", "qed", "vmdk"})
"""Formats of images that may stand on another one (VIR_STORAGE_FILE_BACKING)."""
PROTOCOLS = one_of("nbd", "http", "https", "ftp", "ftps", "iscsi", "rbd")
# virStorageSourceNetworkDefaultPort; RBD's monitors have none.
DEFAULT_PORTS = {"nbd": 10809, "http": 80, "https": 443, "ftp": 21, "ftps": 990, "iscsi": 3260}
WEB = frozenset({"http", "https", "ftp", "ftps"})

TYPES = one_of("file", "block", "network", "volume")
# The attributes and elements of a source that mean something to each type, besides what all have.
OF_TYPE = {
    "file": frozenset({"file"}),
    "block": frozenset({"dev"}),
    "network": frozenset(
        {"protocol", "name", "query", "tls", "tls_hostname", "hosts", "snapshot", "config"}
        | {"initiator", "ssl_verify", "cookies", "readahead", "timeout"}
    ),
    "volume": frozenset({"pool", "volume", "mode"}),
}
COMMON = frozenset({"startup_policy", "index", "labels", "auth", "encryption"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkHost:
    """One address of a server."""

    name: Annotated[str | None, attribute("name", ANY_TEXT)] = None
    port: Annotated[int | None, attribute("port", Integer(high=65535))] = None
    transport: Annotated[str | None, attribute("transport", one_of("tcp", "unix"))] = None
    socket: Annotated[str | None, attribute("socket", PATH)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCookie:
    """What is shown to a web server."""

    name: Annotated[str, attribute("name", TEXT)]
    value: Annotated[str, content(TEXT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCookies:
    """All of them; a secret."""

    cookies: Annotated[tuple[HttpCookie, ...], children("cookie", HttpCookie)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Initiator:
    """How an iSCSI client calls itself."""

    iqn: Annotated[str | None, lone("iqn", "name", TEXT, needed=True)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretUse:
    """A secret, by its UUID or by what it is for."""

    type: Annotated[str | None, attribute("type", one_of("passphrase", "ceph", "iscsi"))] = None
    uuid: Annotated[str | None, attribute("uuid", UUID)] = None
    usage: Annotated[str | None, attribute("usage", TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Who opens a disk on a server, and the secret that proves it."""

    type: Annotated[str | None, attribute("type", one_of("chap", "ceph"))] = None
    username: Annotated[str, attribute("username", TEXT)]
    secret: Annotated[SecretUse, child("secret", SecretUse)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """How an image is encrypted, and the secret that opens it."""

    format: Annotated[str, attribute("format", one_of("luks"))]
    engine: Annotated[str | None, attribute("engine", one_of("qemu"))] = None
    secrets: Annotated[tuple[SecretUse, ...], children("secret", SecretUse)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLabel:
    """A word to a security driver, of which there is none here: that it is to leave the image alone."""

    model: Annotated[str | None, attribute("model", TEXT)] = None
    relabel: Annotated[str, attribute("relabel", one_of("no"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSource:
    """The file, the block device, the volume of a storage pool or the server; ``index`` numbers it in a running
    domain.

    A source that says nothing of these is an empty drive. While a guest runs, ``file`` or ``dev`` is the place of its
    volume.
    """

    file: Annotated[str | None, attribute("file", PATH)] = None
    dev: Annotated[str | None, attribute("dev", PATH)] = None
    protocol: Annotated[str | None, attribute("protocol", PROTOCOLS)] = None
    name: Annotated[str | None, attribute("name", ANY_TEXT)] = None
    query: Annotated[str | None, attribute("query", TEXT)] = None
    tls: Annotated[bool | None, attribute("tls", YES_NO)] = None
    tls_hostname: Annotated[str | None, attribute("tlsHostname", TEXT)] = None
    pool: Annotated[str | None, attribute("pool", TEXT)] = None
    volume: Annotated[str | None, attribute("volume", TEXT)] = None
    mode: Annotated[str | None, attribute("mode", one_of("host", "direct"))] = None
    startup_policy: Annotated[
        str | None, attribute("startupPolicy", one_of("mandatory", "requisite", "optional"))
    ] = None
    index: Annotated[int | None, attribute("index", UINT)] = None
    hosts: Annotated[tuple[NetworkHost, ...], children("host", NetworkHost)] = ()
    snapshot: Annotated[str | None, lone("snapshot", "name", TEXT)] = None
    config: Annotated[str | None, lone("config", "file", PATH)] = None
    initiator: Annotated[Initiator | None, child("initiator", Initiator)] = None
    ssl_verify: Annotated[bool | None, lone("ssl", "verify", YES_NO)] = None
    cookies: Annotated[HttpCookies | None, child("cookies", HttpCookies, hollow=ANY)] = None
    readahead: Annotated[int | None, lone("readahead", "size", ULONG)] = None
    timeout: Annotated[int | None, lone("timeout", "seconds", ULONG)] = None
    labels: Annotated[tuple[SourceLabel, ...], children("seclabel", SourceLabel)] = ()
    auth: Annotated[Auth | None, child("auth", Auth)] = None
    encryption: Annotated[Encryption | None, child("encryption", Encryption)] = None

    def is_empty(self, kind: str) -> bool:
        """Whether a source of type ``kind`` has no medium."""
        return {"file": self.file, "block": self.dev, "network": self.protocol, "volume": self.pool}[kind] is None

    def path(self, kind: str) -> str | None:
        """The file or block device; what a server calls it."""
        if kind == "volume":
            return self.file or self.dev
        return {"file": self.file, "block": self.dev, "network": self.name}[kind]


# What a source of a type says nothing of, and what that is then.
_BARE: dict[str, dict[str, Any]] = {
    kind: {one.name: one.default for one in fields(DiskSource) if one.name not in kept | COMMON}
    for kind, kept in OF_TYPE.items()
}
_SAID = {kind: attrgetter(*bare) for kind, bare in _BARE.items()}


def complete(source: DiskSource, kind: str) -> DiskSource:
    """``source`` of type ``kind`` with libvirt's defaults, and without what says nothing of such a one.

    Raises ``errors.XMLError``, ``errors.InternalError`` for what contradicts itself.
    """
    bare = _BARE[kind]
    if _SAID[kind](source) != tuple(bare.values()):
        source = replace(source, **bare)
    if source.encryption is not None:
        engine = source.encryption.engine or "qemu"
        source = replace(source, encryption=replace(source.encryption, engine=engine))
    if kind == "volume" and (source.pool is None or source.volume is None):
        raise errors.XMLError("XML error: missing 'pool' or 'volume' attribute for element 'source'")
    if kind != "network":
        return source
    if source.protocol is None:
        raise errors.XMLError("XML error: Missing required attribute 'protocol' in element 'source'")
    if source.protocol != "nbd" and source.name is None:
        raise errors.XMLError("XML error: missing name for disk source")
    name = source.name
    if source.protocol == "iscsi" and "/" not in (name or ""):
        name = f"{name}/0"
    if source.protocol in WEB | {"iscsi"} and not source.hosts:
        raise errors.InternalError(f"internal error: protocol '{source.protocol}' accepts only one host")
    return replace(source, name=name, hosts=tuple(_host(one, source.protocol) for one in source.hosts))


def _host(host: NetworkHost, protocol: str) -> NetworkHost:
    if host.transport == "unix":
        if host.socket is None:
            raise errors.XMLError("XML error: missing socket for unix transport")
        return host
    if host.socket is not None:
        raise errors.XMLError(f"XML error: transport '{host.transport or 'tcp'}' does not support socket attribute")
    if not host.name:
        raise errors.XMLError("XML error: missing name for host")
    return replace(host, port=host.port or DEFAULT_PORTS.get(protocol))


def _itself() -> type[BackingStore]:
    return BackingStore


@dataclass(frozen=True, slots=True, kw_only=True)
class BackingStore:
    """The image below another one. One without a type is the end of the chain."""

    type: Annotated[str | None, attribute("type", TYPES)] = None
    index: Annotated[int | None, attribute("index", UINT)] = None
    detected: Annotated[bool | None, attribute("detected", YES_NO)] = None
    """Read off the image above when the guest was started; in the status of a run alone."""
    format: Annotated[str | None, lone("format", "type", FORMATS)] = None
    source: Annotated[DiskSource | None, child("source", DiskSource, hollow=ANY)] = None
    backing_store: Annotated[BackingStore | None, nested("backingStore", _itself)] = None

    @property
    def path(self) -> str | None:
        """The file or block device."""
        return self.source.path(self.type) if self.type and self.source else None
