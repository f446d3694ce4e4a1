"""TLS as the configuration has it, and who may call what by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from culvert.daemon.config import TlsSection
from culvert.ground import errors
from culvert.io import tls_files
from culvert.io.tls_identity import allowed
from culvert.io.tls_side import ClientSide, ServerSide
from culvert.protocol import culvert, remote
from culvert.protocol.procedure import Procedure
from culvert.rpc.session import Session

_STEPS = ("DOMAIN_MIGRATE_PREPARE", "DOMAIN_MIGRATE_FINISH")  # of every version of libvirt's migration protocol

# What brings a guest here: libvirt's steps of the destination, and all of culvert's own program but its greeting.
BRINGS_GUESTS: frozenset[int] = frozenset(
    id(row)
    for row in (
        *(row for row in remote.PROGRAM if row.name.startswith(_STEPS)),
        *(row for row in culvert.PROGRAM if row is not culvert.HELLO),
    )
)


def server_side(config: TlsSection) -> ServerSide:
    """For the listeners. Raises ``errors.InvalidArgument`` naming the file that cannot be used."""
    files = tls_files.default("server").over(ca=config.ca, cert=config.cert, key=config.key, crl=config.crl)
    return ServerSide(
        files,
        minimum=config.min_version,
        sanity=not config.no_sanity,
        allowed_clients=config.allowed_clients,
    )


def client_side(config: TlsSection) -> ClientSide:
    """For connections to other daemons; the files are read when there is one to be made."""
    files = tls_files.default("client").over(
        ca=config.ca, cert=config.client_cert, key=config.client_key, crl=config.crl
    )
    return ClientSide(files, minimum=config.min_version, sanity=not config.no_sanity)


class MigrationPeers:
    """The list of who may bring guests here; called for each call, see ``dispatch.Permit``.

    A client of the UNIX socket is this host's own operator and not asked for a name.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)

    def __call__(self, session: Session, row: Procedure[Any, Any]) -> None:
        """Raises ``errors.AccessDenied`` naming the peer."""
        if id(row) not in BRINGS_GUESTS or session.transport == "unix":
            return
        if not allowed(session.identity, self._patterns):
            who = f"'{session.identity}'" if session.identity else f"{session.peer}, who has shown no certificate,"
            raise errors.AccessDenied(
                f"{row.name}: {who} matches nothing in allowed_migration_peers of section [tls] of this daemon's "
                "configuration"
            )
