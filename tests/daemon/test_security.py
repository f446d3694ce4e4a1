"""TLS as configured, and which calls are only for those who may bring guests."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from culvert.daemon import security
from culvert.daemon.config import TlsSection
from culvert.ground import errors, uri
from culvert.io.tls_identity import Identity
from culvert.protocol import culvert, culvert_wire_1, remote_connect, remote_job, remote_migrate
from culvert.protocol.procedure import Procedure
from culvert.rpc.session import Session
from tests.support.pki import Pki

BRINGING: list[Procedure[Any, Any]] = [
    remote_migrate.DOMAIN_MIGRATE_PREPARE3,
    remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS,
    remote_migrate.DOMAIN_MIGRATE_PREPARE_TUNNEL3,
    remote_migrate.DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS,
    remote_migrate.DOMAIN_MIGRATE_FINISH3,
    remote_migrate.DOMAIN_MIGRATE_FINISH3_PARAMS,
    culvert.MIGRATION_ATTACH,
    culvert.MIGRATION_DIRECT,
    culvert.MIGRATION_CHANNEL,
    culvert_wire_1.MIGRATION_ATTACH_1,
    culvert_wire_1.MIGRATION_DIRECT_1,
    culvert_wire_1.MIGRATION_CHANNEL_1,
    culvert.MIGRATION_OUTCOME,
    culvert_wire_1.MIGRATION_OUTCOME_1,
    culvert.MIGRATION_RECOVER,
    culvert.MIGRATION_PROBE,
]
OTHERS: list[Procedure[Any, Any]] = [
    culvert.HELLO,
    remote_connect.CONNECT_OPEN,
    remote_migrate.DOMAIN_MIGRATE_BEGIN3_PARAMS,
    remote_migrate.DOMAIN_MIGRATE_PERFORM3_PARAMS,
    remote_migrate.DOMAIN_MIGRATE_CONFIRM3_PARAMS,
    remote_job.DOMAIN_ABORT_JOB,
    culvert.MIGRATION_HISTORY,
    culvert.MIGRATION_SHOW,
    culvert.MIGRATION_WAITING,
]


class Caller:
    """As much of a session as is asked about."""

    def __init__(self, transport: str, identity: Identity | None = None) -> None:
        self.transport = transport
        self.identity = identity
        self.peer = "10.0.0.9:1"


def refusal(patterns: list[str], caller: Caller, row: Procedure[Any, Any]) -> errors.AccessDenied | None:
    """Why ``caller`` may not call ``row``; ``None``: it may."""
    try:
        security.MigrationPeers(patterns)(cast(Session, caller), row)
    except errors.AccessDenied as err:
        return err
    return None


BETA = Caller("tls", Identity("O=x,CN=beta", ("beta.example",)))
ADMIN = Caller("tls", Identity("O=x,CN=admin"))


@pytest.mark.parametrize("row", BRINGING, ids=lambda row: row.name)
def test_only_those_on_the_list_bring_guests(row: Procedure[Any, Any]) -> None:
    assert refusal(["beta.example"], BETA, row) is None
    assert refusal(["beta.example"], Caller("unix"), row) is None
    assert f"{row.name}: 'O=x,CN=admin' matches nothing" in str(refusal(["beta.example"], ADMIN, row))
    assert "has shown no certificate" in str(refusal(["*"], Caller("tcp"), row))


@pytest.mark.parametrize("row", OTHERS, ids=lambda row: row.name)
def test_everything_else_is_not_asked(row: Procedure[Any, Any]) -> None:
    assert refusal(["beta.example"], ADMIN, row) is None
    assert refusal(["beta.example"], Caller("tcp"), row) is None


def test_an_operator_decides_about_a_guest_and_a_host_does_not() -> None:
    row = culvert.MIGRATION_RESOLVE
    assert refusal(["beta.example"], ADMIN, row) is None
    assert refusal(["beta.example"], Caller("unix"), row) is None
    refused = str(refusal(["beta.example"], BETA, row))
    assert "MIGRATION_RESOLVE: 'O=x,CN=beta (beta.example)' is a host by allowed_migration_peers" in refused
    assert "use this host's UNIX socket" in refused
    assert "has shown no certificate" in str(refusal(["beta.example"], Caller("tcp"), row))


def test_whose_a_call_is_has_been_said_of_each_of_our_own() -> None:
    assert set(security.OWN) == set(culvert.PROGRAM)


def test_without_a_list_everybody_may() -> None:
    for row in (*BRINGING, *OTHERS, culvert.MIGRATION_RESOLVE):
        assert refusal([], ADMIN, row) is None
        assert refusal([], Caller("tcp"), row) is None


def test_sides_from_the_configuration(tmp_path: Path) -> None:
    holder = Pki(tmp_path).holder("alpha")
    config = TlsSection(
        ca=str(holder.server.ca),
        cert=str(holder.server.cert),
        key=str(holder.server.key),
        client_cert=str(holder.client.cert),
        client_key=str(holder.client.key),
        allowed_clients=["*CN=beta"],
    )
    server = security.server_side(config)
    assert "alpha" in server.names
    with pytest.raises(errors.AuthenticationFailed):
        server.admit(Identity("CN=alpha"))
    assert security.client_side(config).context(uri.parse("qemu+tls://h/system"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument, match=str(tmp_path / "ca.pem")):
        security.server_side(TlsSection(ca=str(tmp_path / "ca.pem")))
