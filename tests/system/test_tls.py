"""TLS with real daemons, the real virsh and a guest that verifies its memory; and all that can be wrong with it.

Certificates of the good hosts are made by ``culvert pki`` in its two commands; those with a fault by the tests.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from culvert.channels.ticket import Ticket, opening
from culvert.cli.main import cli
from culvert.ground import errors
from culvert.ground.errors import ErrorCode
from culvert.protocol import culvert as own
from culvert.protocol import remote_connect, types
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.rpc import client as rpc
from culvert.rpc import prologue
from culvert.xdr.struct import Void
from tests.support import culvert
from tests.support.daemon import CHECKOUT, DaemonFailed, DaemonProcess
from tests.support.guest import RunningGuest, running_tiny
from tests.support.pki import Holder, Pki
from tests.support.processes import descriptors
from tests.support.proxy import Proxy
from tests.support.virsh import Result, Running, virsh
from tests.support.wait import wait_for
from tests.system.test_rubbish_migration import Attempt

P2P = ("migrate", "--live", "--p2p", "--tunnelled")


@dataclass
class Hosts:
    """Two daemons with TLS listeners, and who may connect to them."""

    a: DaemonProcess
    b: DaemonProcess
    pki: Pki
    admin: Holder


def daemon(folder: Path, name: str, config: str, *, program: Sequence[str] = CHECKOUT) -> DaemonProcess:
    root = folder / name
    root.mkdir()
    return DaemonProcess(root, name=f"host_{name}", config=config, tls=True, program=program)


@pytest.fixture
def hosts(folder: Path) -> Iterator[Hosts]:
    """Host b trusts its authority and has a list of the revoked with "revoked" on it."""
    pki = Pki(folder / "pki")
    revoked = pki.holder("revoked")
    crl = str(pki.revoke(revoked.client.cert))
    admin = pki.holder("admin", sides=["client"])
    with (
        daemon(folder, "a", pki.holder("alpha", ["127.0.0.1"]).config(handshake_seconds=3)) as a,
        daemon(folder, "b", pki.holder("beta", ["127.0.0.1"]).config(crl=crl, handshake_seconds=3)) as b,
    ):
        yield Hosts(a, b, pki, admin)


def assert_connects(host: DaemonProcess, holder: Holder) -> None:
    virsh("list", uri=host.tls_uri(pkipath=holder.folder)).expect()


def aftermath(hosts: Hosts, guest: RunningGuest, result: Result, words: str) -> None:
    """It failed and said why; the guest runs on; both daemons live; the next migration works, over TLS."""
    assert not result.ok, result
    assert re.search(words, result.err), result.err
    guest.assert_runs_only_on(hosts.a, hosts.b)
    hosts.b.assert_no_leftovers()
    virsh(*P2P, guest.name, hosts.b.tls_uri(), uri=hosts.a.uri).expect()
    guest.assert_runs_only_on(hosts.b, hosts.a)
    assert "Traceback" not in hosts.a.log + hosts.b.log


def test_two_commands_make_a_pki_that_two_hosts_migrate_with(folder: Path) -> None:
    path = folder / "pki"
    for args in (("init",), ("host", "alpha,127.0.0.1", "beta,127.0.0.1")):
        made = CliRunner().invoke(cli, ["pki", "--dir", str(path), *args])
        assert made.exit_code == 0, made.output
    alpha, beta = (Holder(path / "hosts" / name) for name in ("alpha", "beta"))
    with (
        daemon(folder, "a", alpha.config()) as a,
        daemon(folder, "b", beta.config()) as b,
        running_tiny(a, folder) as guest,
    ):
        virsh(*P2P, guest.name, b.tls_uri(), uri=a.tls_uri(pkipath=beta.folder)).expect()
        guest.assert_runs_only_on(b, a)
        a.assert_no_leftovers()
        b.wait_logged('identity="O=culvert,CN=alpha (alpha, 127.0.0.1)"')
        told = culvert.culvert("job", "--completed", guest.name, uri=b.uri).expect()
        assert re.search(r"culvert\.route +pump\n", told), told
        with culvert.Running(b.tls_uri(pkipath=alpha.folder), "migrate", guest.name, a.tls_uri()) as running:
            assert running.finish().ok
        guest.assert_runs_only_on(a, b)
        assert "transport=tcp" not in re.sub(r"listen transport=tcp", "", a.log + b.log)


def test_driven_by_the_client_the_data_takes_tls_too(hosts: Hosts, folder: Path) -> None:
    with running_tiny(hosts.a, folder) as guest:
        there = hosts.b.tls_uri(pkipath=hosts.admin.folder)
        virsh("migrate", "--live", guest.name, there, uri=hosts.a.tls_uri(pkipath=hosts.admin.folder)).expect()
        guest.assert_runs_only_on(hosts.b, hosts.a)
        hosts.b.wait_logged('identity="O=test,CN=admin')
        hosts.b.wait_logged('identity="O=test,CN=alpha')
        hosts.b.wait_logged("session open")
        assert "transport=tcp" not in re.sub(r"listen transport=tcp", "", hosts.a.log + hosts.b.log)


def test_virsh_connects_every_time_and_the_connection_is_secure(hosts: Hosts) -> None:
    for _ in range(10):
        assert_connects(hosts.a, hosts.admin)

    async def secure(uri: str) -> int:
        async with rpc.connect(uri) as client:
            await prologue.open_connection(client)
            return (await client.call(remote_connect.CONNECT_IS_SECURE, Void())).secure

    assert asyncio.run(secure(hosts.a.tls_uri(pkipath=hosts.admin.folder))) == 1
    assert asyncio.run(secure(hosts.a.tcp_uri)) == 0
    assert asyncio.run(secure(hosts.a.uri)) == 1


# What the source shows or where it goes, and what the person who asked is told.


def _wrong_ca(hosts: Hosts) -> str:
    stranger = Pki(hosts.pki.folder.with_name("other")).holder("alpha")
    stranger.client.ca.write_bytes(hosts.admin.client.ca.read_bytes())
    return hosts.b.tls_uri(pkipath=stranger.folder, no_sanity=1)


def _untrusted(hosts: Hosts) -> str:
    return hosts.b.tls_uri(pkipath=Pki(hosts.pki.folder.with_name("other")).holder("alpha").folder)


def _expired(hosts: Hosts) -> str:
    return hosts.b.tls_uri(pkipath=hosts.pki.holder("old", expired=True).folder, no_sanity=1)


def _revoked(hosts: Hosts) -> str:
    return hosts.b.tls_uri(pkipath=hosts.pki.folder / "revoked")


def _wrong_name(hosts: Hosts) -> str:
    # Leads to 127.0.0.1 and is not its name; virsh itself does not migrate to a "localhost".
    return hosts.b.tls_uri("127.1")


def _clear_text(hosts: Hosts) -> str:
    return hosts.b.uri_by(hosts.b.tls_port)


def _tls_to_clear_text(hosts: Hosts) -> str:
    return hosts.b.tls_uri(port=hosts.b.port)


def _no_files(hosts: Hosts) -> str:
    return hosts.b.tls_uri(pkipath=hosts.pki.folder / "absent")


def _named_pipe(hosts: Hosts) -> str:
    """Whoever opens it waits for a writer, who never comes."""
    folder = hosts.pki.folder / "pipe"
    folder.mkdir()
    os.mkfifo(folder / "cacert.pem")
    return hosts.b.tls_uri(pkipath=folder)


FAULTS: list[tuple[Callable[[Hosts], str], str, str]] = [
    (_wrong_ca, "does not know the authority|could not check", "not accepted: "),
    (
        _untrusted,
        "certificate is not accepted: .*(issuer|self.signed|signature)",
        "does not accept|does not know|not check",
    ),
    (_expired, "this side's certificate has expired", "not accepted: certificate has expired"),
    (_revoked, "this side's certificate has been revoked", "not accepted: certificate revoked"),
    (_wrong_name, r"Hostname mismatch, certificate is not valid for '127\.1'", "does not accept"),
    (_clear_text, "does it expect TLS on this port", "does not speak TLS"),
    (_tls_to_clear_text, "does it expect TLS on this port", "these bytes are TLS: is this port a clear-text one"),
    (_named_pipe, r"CA certificate .*/pipe/cacert\.pem cannot be read: it is not a regular file", ""),
    (_no_files, r"CA certificate .*/absent/cacert\.pem does not exist", ""),
]


@pytest.mark.parametrize(("fault", "told", "logged"), FAULTS, ids=[fault[0].__name__[1:] for fault in FAULTS])
def test_a_migration_that_one_end_does_not_trust(
    hosts: Hosts, folder: Path, fault: Callable[[Hosts], str], told: str, logged: str
) -> None:
    with running_tiny(hosts.a, folder) as guest:
        result = virsh(*P2P, guest.name, fault(hosts), uri=hosts.a.uri)
        wait_for(lambda: re.search(logged, hosts.b.log) is not None, f"{logged!r} in the log")
        aftermath(hosts, guest, result, told)


def test_a_virsh_that_is_not_trusted_harms_nobody(hosts: Hosts) -> None:
    assert_connects(hosts.b, hosts.admin)
    before = descriptors(hosts.b.pid)
    for fault in (_wrong_ca, _untrusted, _expired, _revoked, _wrong_name, _clear_text, _tls_to_clear_text):
        uri = fault(hosts)
        if fault is _wrong_name or fault is _tls_to_clear_text:
            uri += f"?pkipath={hosts.admin.folder}"
        assert not virsh("list", uri=uri).ok, uri
        assert_connects(hosts.b, hosts.admin)
    assert hosts.b.running
    wait_for(lambda: descriptors(hosts.b.pid) <= before, "no descriptor is left")
    assert "Traceback" not in hosts.b.log


def test_connection_cut_at_every_stage(hosts: Hosts, folder: Path) -> None:
    """In the handshake, in the prologue, in prepare, early and late in the data."""
    with running_tiny(hosts.a, folder) as guest, Proxy(hosts.b.tls_port) as proxy:
        for count in (100, 1000, 3000, 8000, 1 << 16, 8 << 20):
            proxy.cut_after(proxy.forwarded + count)
            result = virsh(*P2P, guest.name, hosts.b.tls_uri(port=proxy.port, route="stream"), uri=hosts.a.uri)
            assert not result.ok, count
            # A call that had arrived is still carried out, and then undone.
            wait_for(lambda: hosts.b.log.count("session open") == hosts.b.log.count("session close"), "all is over")
            hosts.b.assert_no_leftovers()
            guest.assert_runs_only_on(hosts.a, hosts.b)
        aftermath(hosts, guest, result, "lost")


@pytest.mark.parametrize("count", [1 << 16, 8 << 20])
def test_channels_cut_in_the_data_are_attached_again(hosts: Hosts, folder: Path, count: int) -> None:
    """Every new connection shakes hands anew; the replay goes through it."""
    with running_tiny(hosts.a, folder) as guest, Proxy(hosts.b.tls_port) as proxy:
        proxy.cut_after(count)
        uri = hosts.b.tls_uri(port=proxy.port)
        virsh(*P2P, "--parallel-connections", "2", guest.name, uri, uri=hosts.a.uri).expect()
        guest.assert_runs_only_on(hosts.b, hosts.a)
        assert "Traceback" not in hosts.a.log + hosts.b.log
        hosts.a.wait_logged("connecting again")


def test_the_direct_route_would_leave_encryption_out_and_is_refused(hosts: Hosts, folder: Path) -> None:
    with running_tiny(hosts.a, folder) as guest:
        result = virsh(*P2P, guest.name, hosts.b.tls_uri(route="direct"), uri=hosts.a.uri)
        aftermath(hosts, guest, result, "needs a connection without encryption")


MAIN = ("memory-main", "")


async def test_a_ticket_is_good_for_nobody_else(hosts: Hosts, folder: Path) -> None:
    """What one host has prepared cannot be fed by another one, even if it has overheard the ticket."""
    attempt = Attempt(folder)
    alpha, admin = (hosts.b.tls_uri(pkipath=hosts.pki.folder / name) for name in ("alpha", "admin"))
    async with rpc.connect(alpha) as client, rpc.connect(admin) as thief:
        await prologue.open_connection(client)
        ticket = Ticket.parse(await attempt.prepare(client, int(MigrateFlag.LIVE | MigrateFlag.PEER2PEER)))
        token = ticket.token(opening(*MAIN), 1)
        with pytest.raises(errors.RemoteError, match=r"given to 'O=test,CN=alpha.*not to 'O=test,CN=admin"):
            await thief.call(own.MIGRATION_CHANNEL, own.MigrationChannelArgs(token, *MAIN, 0))
        with pytest.raises(errors.RemoteError, match="leave TLS out"):
            await client.call(own.MIGRATION_DIRECT, own.MigrationAttachArgs(token, *MAIN))
        with pytest.raises(errors.RemoteError, match="cancelled"):
            await attempt.finish(client, cancelled=True)
    hosts.b.assert_no_leftovers()


def test_a_destination_that_is_silent_in_the_handshake(hosts: Hosts, folder: Path) -> None:
    with running_tiny(hosts.a, folder) as guest, socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with Running(hosts.a.uri, *P2P, guest.name, hosts.b.tls_uri(port=port)) as running:
            virsh("domstate", guest.name, uri=hosts.a.uri, timeout=5).expect()
            result = running.finish()
        aftermath(hosts, guest, result, f"unable to connect to server at '127.0.0.1:{port}': no answer in 20 s")


def test_a_server_whose_certificate_has_expired(folder: Path) -> None:
    pki = Pki(folder / "pki")
    admin = pki.holder("admin")
    old = pki.holder("old", expired=True)
    with pytest.raises(DaemonFailed, match=r"servercert\.pem has expired on .*culvert pki renew"):
        daemon(folder, "refused", old.config()).start()
    with daemon(folder, "old", old.config(no_sanity=True)) as host:
        assert not virsh("list", uri=host.tls_uri(pkipath=admin.folder)).ok
        with culvert.Running(host.tls_uri(pkipath=admin.folder), "list") as running:
            result = running.finish()
        assert result.rc == 3
        assert "certificate has expired" in result.err
        virsh("list", uri=host.uri).expect()


def test_silent_clients_in_the_handshake_harm_nobody(hosts: Hosts) -> None:
    before = descriptors(hosts.b.pid)
    silent = [socket.create_connection(("127.0.0.1", hosts.b.tls_port)) for _ in range(30)]
    silent[0].sendall(b"\x16\x03\x01\x40\x00")
    try:
        virsh("list", uri=hosts.b.uri, timeout=2).expect()
        virsh("list", uri=hosts.b.tcp_uri, timeout=2).expect()
        # Twenty strangers at most are listened to at once; they are sent away after the deadline.
        virsh("list", uri=hosts.b.tls_uri(pkipath=hosts.admin.folder), timeout=20).expect()
        wait_for(lambda: hosts.b.log.count("session refused") == 30, "all silent ones are sent away")
        hosts.b.wait_logged("TLS handshake failed: not done in 3 s")
        wait_for(lambda: descriptors(hosts.b.pid) <= before, "no descriptor is left")
    finally:
        for sock in silent:
            sock.close()


def test_lists_of_clients_and_of_migration_peers(folder: Path) -> None:
    pki = Pki(folder / "pki")
    alpha, admin, guest_of_nobody = (pki.holder(name) for name in ("alpha", "admin", "nobody"))
    lists = pki.holder("beta").config(
        allowed_clients=["*,CN=alpha", "*,CN=admin"], allowed_migration_peers=["O=test,CN=alpha"]
    )
    with daemon(folder, "a", alpha.config()) as a, daemon(folder, "b", lists) as b:
        assert_connects(b, admin)
        refused = virsh("list", uri=b.tls_uri(pkipath=guest_of_nobody.folder))
        assert "server verification (of our certificate or IP address) failed" in refused.err
        b.wait_logged("'O=test,CN=nobody (nobody, 127.0.0.1, localhost)' matches nothing in allowed_clients")
        with running_tiny(a, folder) as guest:
            for uri, who in ((b.tls_uri(pkipath=admin.folder), "CN=admin"), (b.tcp_uri, "shown no certificate")):
                result = virsh(*P2P, guest.name, uri, uri=a.uri)
                assert not result.ok
                assert "matches nothing in allowed_migration_peers" in result.err
                assert who in result.err
                guest.assert_runs_only_on(a, b)
            virsh(*P2P, guest.name, b.tls_uri(), uri=a.uri).expect()
            guest.assert_runs_only_on(b, a)
        # What an operator asks by TLS is not what a host asks.
        for holder in (admin, alpha):
            assert guest.name in culvert.culvert("history", uri=b.tls_uri(pkipath=holder.folder)).expect()
        asyncio.run(resolved(b, admin, ErrorCode.OPERATION_INVALID))
        asyncio.run(resolved(b, alpha, ErrorCode.ACCESS_DENIED))


async def resolved(host: DaemonProcess, holder: Holder, code: ErrorCode) -> None:
    """``holder`` decides about a guest that does not wait, and is refused with ``code``."""
    args = own.MigrationResolveArgs(types.Domain("nobody", bytes(16), -1), 1)
    async with rpc.connect(host.tls_uri(pkipath=holder.folder)) as client:
        await prologue.open_connection(client)
        with pytest.raises(errors.RemoteError) as refused:
            await client.call(own.MIGRATION_RESOLVE, args)
    assert refused.value.remote_code == code, refused.value


def test_certificates_are_taken_up_without_a_restart(hosts: Hosts) -> None:
    host, pid = hosts.a, hosts.a.pid
    elsewhere = host.tls_uri("localhost", pkipath=hosts.admin.folder)
    assert "Failed to verify peer's certificate" in virsh("list", uri=elsewhere).err
    holder = hosts.pki.holder("alpha", ["127.0.0.1", "localhost"])
    host.reload()
    host.wait_logged("certificates reloaded")
    virsh("list", uri=elsewhere).expect()
    holder.server.cert.write_text("rubbish")
    host.reload()
    host.wait_logged("certificates not reloaded, the old ones stay in use")
    host.wait_logged(str(holder.server.cert))
    virsh("list", uri=elsewhere).expect()
    assert host.running
    assert host.pid == pid


def test_a_daemon_without_its_files_does_not_start_and_names_them(folder: Path) -> None:
    config = f'[tls]\nca = "{folder}/ca.pem"\n'
    with pytest.raises(DaemonFailed, match=rf"CA certificate {folder}/ca\.pem does not exist"):
        daemon(folder, "bare", config).start()
