"""The answer to finish is lost: the guest may run at the destination, so the source asks and never guesses.

A road between the two real daemons is cut in the place of one certain packet of the protocol.
"""

from __future__ import annotations

import json
import os
import signal
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from culvert.ground import errors, uri
from culvert.migration.options import cookie
from culvert.migration.options.parameters import Options
from culvert.migration.progress.downtime import FIGURES
from culvert.protocol import remote, remote_list, remote_migrate, types
from culvert.protocol.constants_migrate import CULVERT_DOWNTIMES, MigrateFlag
from culvert.rpc.client import Client, connect
from culvert.rpc.prologue import open_connection
from culvert.wire.packet import PacketType
from tests.support.culvert import culvert
from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest, running_tiny, state_of
from tests.support.proxy import Proxy
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for
from tests.system.test_faults import P2P


def packet(procedure: int, kind: PacketType) -> bytes:
    """The part of a header that names a procedure and says whether it is the call or the reply."""
    return struct.pack(">IIII", remote.PROGRAM.number, remote.PROGRAM.version, procedure, kind)


FINISH_CALL = packet(remote_migrate.DOMAIN_MIGRATE_FINISH3_PARAMS.number, PacketType.CALL)
FINISH_REPLY = packet(remote_migrate.DOMAIN_MIGRATE_FINISH3_PARAMS.number, PacketType.REPLY)
PREPARE_REPLY = {
    "stream": packet(remote_migrate.DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS.number, PacketType.REPLY),
    "direct": packet(remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS.number, PacketType.REPLY),
    "pump": packet(remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS.number, PacketType.REPLY),
}
LIVE = int(MigrateFlag.LIVE)
EVERY_ROUTE = pytest.mark.parametrize("route", ["stream", "direct", "pump"])


def waits_for_the_destination(guest: RunningGuest, source: DaemonProcess) -> bool:
    """Whether the source says that it is waiting to hear where the guest runs."""
    return "waiting for" in virsh("domjobinfo", guest.name, uri=source.uri).out


@EVERY_ROUTE
def test_answer_lost_and_the_guest_runs_there(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    """The migration has succeeded, and that is what virsh hears."""
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_on(FINISH_REPLY)
        virsh(*P2P, guest.name, host_b.uri_by(proxy.port), uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        host_a.assert_no_leftovers()


@EVERY_ROUTE
def test_call_lost_and_the_guest_never_ran_there(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str
) -> None:
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_on(FINISH_CALL)
        result = virsh(*P2P, guest.name, host_b.uri_by(proxy.port), uri=host_a.uri)
        assert not result.ok
        host_b.assert_no_leftovers()
        guest.assert_runs_only_on(host_a, host_b)
        told = virsh("domstate", "--reason", guest.name, uri=host_a.uri).expect()
        assert told.strip() == "running (migration canceled)"
        virsh(*P2P, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)


@EVERY_ROUTE
def test_answer_to_prepare_lost(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str) -> None:
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_on(PREPARE_REPLY[route])
        assert not virsh(*P2P, guest.name, host_b.uri_by(proxy.port), uri=host_a.uri).ok
        host_b.assert_no_leftovers()
        guest.assert_runs_only_on(host_a, host_b)


@pytest.mark.parametrize(("lost", "arrived"), [(FINISH_REPLY, True), (FINISH_CALL, False)], ids=["reply", "call"])
def test_as_long_as_nobody_can_tell_the_guest_stays_paused_here(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, lost: bytes, arrived: bool
) -> None:
    """It says what it waits for, cannot be aborted or resumed, and goes on when the road is there again."""
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_on(lost, then_refuse=True)
        with Running(host_a.uri, *P2P, guest.name, host_b.uri_by(proxy.port)) as running:
            wait_for(lambda: waits_for_the_destination(guest, host_a), "the source waits")
            assert virsh("domstate", "--reason", guest.name, uri=host_a.uri).expect().strip() == "paused (migrating)"
            assert "destination decides" in virsh("domjobabort", guest.name, uri=host_a.uri).err
            assert "migration out" in virsh("resume", guest.name, uri=host_a.uri).err
            proxy.refuse(False)
            result = running.finish()
        assert result.ok is arrived, result
        if arrived:
            guest.assert_runs_only_on(host_b, host_a)
        else:
            host_b.assert_no_leftovers()
            guest.assert_runs_only_on(host_a, host_b)


@pytest.mark.parametrize(("lost", "arrived"), [(FINISH_REPLY, True), (FINISH_CALL, False)], ids=["reply", "call"])
def test_source_daemon_killed_while_it_waits(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, lost: bytes, arrived: bool
) -> None:
    """The next daemon finds the migration where it was left and asks on."""
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_on(lost, then_refuse=True)
        with Running(host_a.uri, *P2P, guest.name, host_b.uri_by(proxy.port)) as running:
            wait_for(lambda: waits_for_the_destination(guest, host_a), "the source waits")
            host_a.restart(kill=True)
            assert not running.finish().ok
        assert state_of(guest.uuid, host_a) == "paused"
        assert "migration out" in virsh("resume", guest.name, uri=host_a.uri).err
        proxy.refuse(False)
        wait_for(lambda: state_of(guest.uuid, host_a) != "paused", "the source has heard")
        if arrived:
            guest.assert_runs_only_on(host_b, host_a)
            host_a.assert_no_leftovers()
        else:
            host_b.assert_no_leftovers()
            guest.assert_runs_only_on(host_a, host_b)


def test_destination_daemon_killed_with_the_answer_on_its_way(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """It is asked after its restart, when all that it knows is on its disk."""
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_on(FINISH_REPLY, then_refuse=True)
        with Running(host_a.uri, *P2P, guest.name, host_b.uri_by(proxy.port)) as running:
            wait_for(lambda: waits_for_the_destination(guest, host_a), "the source waits")
            host_b.restart(kill=True)
            proxy.refuse(False)
            running.finish()
        guest.assert_runs_only_on(host_b, host_a)


def test_as_long_as_it_waits_it_cannot_be_started_here(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """Also when nothing is left of it here, and the daemon is another one: only the journal knows of it then."""
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_on(FINISH_REPLY, then_refuse=True)
        with Running(host_a.uri, *P2P, guest.name, host_b.uri_by(proxy.port)):
            wait_for(lambda: waits_for_the_destination(guest, host_a), "the source waits")
            (pid,) = host_a.qemu_pids()
            host_a.kill()
            os.kill(pid, signal.SIGKILL)
        host_a.start()
        assert "may run elsewhere" in virsh("create", str(guest.guest.write_xml()), uri=host_a.uri).err
        listed = culvert("list", uri=host_a.uri).expect()
        assert f"guest '{guest.name}' is waiting for {host_b.uri_by(proxy.port)}" in listed
        assert culvert("resolve", guest.name, "--yes", uri=host_a.uri).rc != 0, "neither here nor there"
        culvert("resolve", guest.name, "--running-there", "--yes", uri=host_a.uri).expect()
        assert "waiting" not in culvert("list", uri=host_a.uri).expect()
        assert "says that the guest runs at" in culvert("history", "show", "1", uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)


def test_nor_while_its_qemu_does_not_say_how_it_stands(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """The next daemon finds a QEMU that hangs, and that ends before it has been asked again."""
    with running_tiny(host_a, folder) as guest, Proxy(host_b.port) as proxy:
        proxy.cut_on(FINISH_REPLY, then_refuse=True)
        with Running(host_a.uri, *P2P, guest.name, host_b.uri_by(proxy.port)):
            wait_for(lambda: waits_for_the_destination(guest, host_a), "the source waits")
            (pid,) = host_a.qemu_pids()
            os.kill(pid, signal.SIGSTOP)
            host_a.kill()
        host_a.start()
        for command in ("resume", "reboot"):
            refused = virsh(command, guest.name, uri=host_a.uri).err
            assert "has not answered since the restart" in refused, command
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not virsh("domstate", guest.name, uri=host_a.uri).ok, "it has ended")
        assert "may run elsewhere" in virsh("create", str(guest.guest.write_xml()), uri=host_a.uri).err
        wait_for(lambda: "is waiting for" in culvert("list", uri=host_a.uri).expect(), "it is taken up")
        culvert("resolve", guest.name, "--running-there", "--yes", uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)


@pytest.mark.parametrize("claimed", [True, False], ids=["arrived", "cancelled"])
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])
async def test_a_client_that_says_the_wrong_thing(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, finished: bool, claimed: bool
) -> None:
    """Who drives the steps may be wrong about finish, or lie: the source asks the destination before it acts."""
    with running_tiny(host_a, folder) as guest:
        async with connected(host_a) as at_a, connected(host_b) as at_b:
            dom, _ = await driven(guest, at_a, at_b, finish=finished)
            confirm = remote_migrate.Confirm3ParamsArgs(dom, [], b"", LIVE, int(not claimed))
            if claimed and not finished:
                with pytest.raises(errors.RemoteError, match="has not arrived"):
                    await at_a.call(remote_migrate.DOMAIN_MIGRATE_CONFIRM3_PARAMS, confirm)
            else:
                await at_a.call(remote_migrate.DOMAIN_MIGRATE_CONFIRM3_PARAMS, confirm)
        here, there = (host_b, host_a) if finished else (host_a, host_b)
        there.assert_no_leftovers()
        guest.assert_runs_only_on(here, there)


async def test_the_client_hands_on_what_the_destination_has_measured(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """The last cookie comes with confirm: the source tells the standstill with the destination's parts of it."""
    with running_tiny(host_a, folder) as guest:
        async with connected(host_a) as at_a, connected(host_b) as at_b:
            dom, last = await driven(guest, at_a, at_b, finish=True)
            said = cookie.parse(last)
            assert said.statistics.keys() >= set(FIGURES.values())
            measured = {FIGURES["start"]: 1_000, FIGURES["announce"]: 0, FIGURES["ran"]: 0}  # microseconds
            told = cookie.build(replace(said, statistics={**said.statistics, **measured}))
            confirm = remote_migrate.Confirm3ParamsArgs(dom, [], told, LIVE, 0)
            await at_a.call(remote_migrate.DOMAIN_MIGRATE_CONFIRM3_PARAMS, confirm)
        newest, *_ = culvert("history", "--json", uri=host_a.uri).expect().splitlines()
        assert json.loads(newest)["figures"][CULVERT_DOWNTIMES["start"]] == 1
        guest.assert_runs_only_on(host_b, host_a)


async def test_big_cookies_are_read_beside_the_loop(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """The guard over the loops of both daemons fails this where they are not: each call brings a very big one."""
    many = "<x:one a='b'/>" * 90_000
    metadata = f"<metadata><x:many xmlns:x='urn:x'>{many}</x:many></metadata>"
    with running_tiny(host_a, folder) as guest:
        async with connected(host_a) as at_a, connected(host_b) as at_b:
            dom = (await at_a.call(remote_list.DOMAIN_LOOKUP_BY_NAME, remote_list.NameArgs(guest.name))).dom
            begun = await at_a.call(
                remote_migrate.DOMAIN_MIGRATE_BEGIN3_PARAMS, remote_migrate.Begin3ParamsArgs(dom, [], LIVE)
            )
            big = begun.xml.replace("</domain>", f"{metadata}</domain>")
            said = cookie.parse(begun.cookie_out)
            kept = cookie.build(replace(said, persistent_xml=big))
            named = Options(destination_xml=begun.xml, destination_name=guest.name).to_typed()
            prepared = await at_b.call(
                remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS,
                remote_migrate.Prepare3ParamsArgs(named, kept, LIVE),
            )
            there = cookie.parse(prepared.cookie_out)
            where = Options(migrate_uri=prepared.uri_out).to_typed()
            performed = await at_a.call(
                remote_migrate.DOMAIN_MIGRATE_PERFORM3_PARAMS,
                remote_migrate.Perform3ParamsArgs(
                    dom, None, where, cookie.build(replace(there, persistent_xml=big)), LIVE
                ),
            )
            granted = replace(cookie.parse(performed.cookie_out), persistent_xml=big)
            finished = await at_b.call(
                remote_migrate.DOMAIN_MIGRATE_FINISH3_PARAMS,
                remote_migrate.Finish3ParamsArgs(named, cookie.build(granted), LIVE, 0),
            )
            heard = cookie.build(replace(cookie.parse(finished.cookie_out), persistent_xml=big))
            await at_a.call(
                remote_migrate.DOMAIN_MIGRATE_CONFIRM3_PARAMS,
                remote_migrate.Confirm3ParamsArgs(dom, [], heard, LIVE, 0),
            )
        guest.assert_runs_only_on(host_b, host_a)


async def driven(guest: RunningGuest, at_a: Client, at_b: Client, *, finish: bool) -> tuple[types.Domain, bytes]:
    """A migration that a client drives up to confirm, or to before finish: the domain, the destination's cookie."""
    dom = (await at_a.call(remote_list.DOMAIN_LOOKUP_BY_NAME, remote_list.NameArgs(guest.name))).dom
    begun = await at_a.call(
        remote_migrate.DOMAIN_MIGRATE_BEGIN3_PARAMS, remote_migrate.Begin3ParamsArgs(dom, [], LIVE)
    )
    named = Options(destination_xml=begun.xml, destination_name=guest.name).to_typed()
    prepared = await at_b.call(
        remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS,
        remote_migrate.Prepare3ParamsArgs(named, begun.cookie_out, LIVE),
    )
    where = Options(migrate_uri=prepared.uri_out).to_typed()
    performed = await at_a.call(
        remote_migrate.DOMAIN_MIGRATE_PERFORM3_PARAMS,
        remote_migrate.Perform3ParamsArgs(dom, None, where, prepared.cookie_out, LIVE),
    )
    if not finish:
        return dom, prepared.cookie_out
    finished = await at_b.call(
        remote_migrate.DOMAIN_MIGRATE_FINISH3_PARAMS,
        remote_migrate.Finish3ParamsArgs(named, performed.cookie_out, LIVE, 0),
    )
    return dom, finished.cookie_out


@asynccontextmanager
async def connected(host: DaemonProcess) -> AsyncIterator[Client]:
    """An open connection, as a client library has it."""
    async with connect(uri.parse(host.tcp_uri)) as client:
        await open_connection(client)
        yield client
