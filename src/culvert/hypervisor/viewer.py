"""Where who looks at a guest by SPICE finds it at the other end of a migration; pure.

libvirt tells it in the cookie of Prepare's answer (qemu/qemu_migration_cookie.c, ``<graphics>``), and the source's
QEMU passes it on to its viewers, which connect there before the guest has come.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

from culvert.domain.definition import DomainDef
from culvert.ground import errors

WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  # they are looked for, and not listened on
NO_PORT = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A server of ``type`` that listens there; a port below 1 is none. ``subject``: of its certificate."""

    type: str
    port: int = NO_PORT
    tls_port: int = NO_PORT
    listen: str = ""
    subject: str = ""

    @property
    def is_followed(self) -> bool:
        """QEMU can send its viewers there."""
        return self.type == "spice" and max(self.port, self.tls_port) > 0

    def seen_from(self, hostname: str) -> Screen:
        """With an address that others reach: that of its host where it listens on all of them."""
        return replace(self, listen=hostname) if self.listen in WILDCARDS else self


def of(definition: DomainDef, subject: str = "") -> Screen | None:
    """The first SPICE server of a guest that runs, where it listens on an address."""
    for one in definition.devices.graphics:
        if one.is_spice and one.kind in ("address", "network"):
            ports = {"port": one.port or NO_PORT, "tls_port": one.tls_port or NO_PORT}
            return Screen(type="spice", listen=one.address or "127.0.0.1", subject=subject, **ports)
    return None


def asked(uri: str, told: Screen | None) -> Screen:
    """What ``uri`` (``spice://HOST:PORT?tlsPort=…&tlsSubject=…``) says, and ``told`` where it says nothing.

    Raises ``errors.InvalidArgument`` for what is no such URI.
    """
    try:
        parts = urlsplit(uri)
        port, query = parts.port or NO_PORT, {name.lower(): value for name, value in parse_qsl(parts.query)}
        tls_port = int(query.get("tlsport", NO_PORT))
    except ValueError as err:
        raise errors.InvalidArgument(f"invalid argument: graphics URI '{uri}' cannot be read: {err}") from err
    if parts.scheme not in ("spice", "vnc"):
        raise errors.InvalidArgument(f"invalid argument: unknown graphics type {parts.scheme}")
    known = told or Screen(type=parts.scheme)
    return Screen(
        type=parts.scheme,
        port=port if port > 0 else known.port,
        tls_port=tls_port if tls_port > 0 else known.tls_port,
        listen=parts.hostname or known.listen,
        subject=query.get("tlssubject", known.subject),
    )
