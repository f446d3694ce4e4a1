"""TLS as the configuration has it, and who may call what by it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from culvert.daemon.config import TlsSection
from culvert.ground import errors
from culvert.io import tls_files
from culvert.io.tls_identity import allowed
from culvert.io.tls_side import ClientSide, ServerSide
from culvert.protocol import culvert, culvert_wire_1, remote
from culvert.protocol.procedure import Procedure
from culvert.rpc.session import Session


class Right(Enum):
    """Whose a call is, where ``allowed_migration_peers`` has names in it."""

    CLIENTS = "every client that is let in"
    PEERS = "those on the list: it brings a guest here"
    OPERATORS = "those not on the list: a host does not decide about this one's guests"


OWN: dict[Procedure[Any, Any], Right] = {
    culvert.HELLO: Right.CLIENTS,
    culvert.MIGRATION_ATTACH: Right.PEERS,
    culvert.MIGRATION_DIRECT: Right.PEERS,
    culvert.MIGRATION_CHANNEL: Right.PEERS,
    culvert.MIGRATION_OUTCOME: Right.PEERS,
    culvert.MIGRATION_RECOVER: Right.PEERS,
    culvert.MIGRATION_PROBE: Right.PEERS,
    culvert_wire_1.MIGRATION_ATTACH_1: Right.PEERS,
    culvert_wire_1.MIGRATION_DIRECT_1: Right.PEERS,
    culvert_wire_1.MIGRATION_CHANNEL_1: Right.PEERS,
    culvert_wire_1.MIGRATION_OUTCOME_1: Right.PEERS,
    culvert.MIGRATION_HISTORY: Right.CLIENTS,
    culvert.MIGRATION_SHOW: Right.CLIENTS,
    culvert.MIGRATION_WAITING: Right.CLIENTS,
    culvert.MIGRATION_RESOLVE: Right.OPERATORS,
}
"""Every call of culvert's own program."""

_STEPS = ("DOMAIN_MIGRATE_PREPARE", "DOMAIN_MIGRATE_FINISH")  # of every version of libvirt's migration protocol

RIGHTS: dict[int, Right] = {
    id(row): right
    for row, right in (
        *((row, Right.PEERS) for row in remote.PROGRAM if row.name.startswith(_STEPS)),
        *OWN.items(),
    )
}
"""By the ``id`` of a row; every other call is every client's."""


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


_ADVICE = {
    Right.PEERS: "",
    Right.OPERATORS: ": use this host's UNIX socket, or by TLS a certificate that is not on that list",
}


class MigrationPeers:
    """The list of who may bring guests here; called for each call, see ``dispatch.Permit``.

    A client of the UNIX socket is this host's own operator and not asked for a name. Who comes without a certificate
    may be anybody: neither a peer, nor an operator. With an empty list everybody is both.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)

    def __call__(self, session: Session, row: Procedure[Any, Any]) -> None:
        """Raises ``errors.AccessDenied`` naming the client."""
        right = RIGHTS.get(id(row), Right.CLIENTS)
        if right is Right.CLIENTS or not self._patterns or session.transport == "unix":
            return
        peer = allowed(session.identity, self._patterns)
        if session.identity is not None and peer is (right is Right.PEERS):
            return
        who = f"'{session.identity}'" if session.identity else f"{session.peer}, who has shown no certificate,"
        found = "matches nothing in" if not peer else "is a host by"
        raise errors.AccessDenied(
            f"{row.name}: {who} {found} allowed_migration_peers of section [tls] of this daemon's configuration"
            f"{_ADVICE[right]}"
        )
