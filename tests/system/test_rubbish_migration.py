"""Migration steps out of order, with garbage, with tokens that were guessed, with a stream that is no migration.

The fixture ``host`` looks after each test that no QEMU and no file is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from culvert.ground import errors
from culvert.ground import uri as uris
from culvert.ground.errors import ErrorCode
from culvert.migration.options import cookie, grant
from culvert.protocol import (
    constants_migrate,
    culvert,
    culvert_wire_1,
    remote_connect,
    remote_list,
    remote_migrate,
    shapes,
    typed_params,
    types,
)
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.protocol.procedure import Procedure
from culvert.protocol.typed_params import Value
from culvert.rpc import client as rpc
from culvert.rpc import prologue
from culvert.rpc.stream import Stream
from culvert.xdr.struct import Void
from guests import domain_xml
from tests.support.daemon import DaemonProcess
from tests.support.guest import SMALL, running_tiny
from tests.support.virsh import virsh
from tests.support.wait import wait_for

HERE = socket.gethostname()  # a destination that is reached by loopback alone takes nobody from another host
TUNNEL = int(MigrateFlag.LIVE | MigrateFlag.PEER2PEER | MigrateFlag.TUNNELLED)
DIRECT = int(MigrateFlag.LIVE)
OFFLINE = int(MigrateFlag.OFFLINE | MigrateFlag.PERSIST_DEST)


class Attempt:
    """A guest that somebody says he is sending."""

    def __init__(self, folder: Path, name: str = "tiny") -> None:
        self.guest = domain_xml.tiny_guest(folder, name, SMALL)
        self.uuid = self.guest.domain.uuid
        self.grant = grant.make()
        self.attempt = uuid.uuid4().hex

    def cookie(self, *, attempt: str = "", of: uuid.UUID | None = None) -> bytes:
        seal = grant.seal(self.grant) if attempt else ""
        wire = culvert.WIRE
        made = cookie.Cookie(self.guest.name, of or self.uuid, HERE, uuid.uuid4(), attempt, seal, wire=wire)
        return cookie.build(made)

    def granting(self) -> bytes:
        """The cookie that lets the guest run which ``prepare`` has prepared."""
        made = cookie.Cookie(self.guest.name, self.uuid, HERE, uuid.uuid4(), "0" * 8, grant=self.grant)
        return cookie.build(made)

    def params(self, **changed: Value) -> list[types.TypedParam]:
        values: dict[str, Value] = {"destination_name": self.guest.name, "destination_xml": self.guest.xml, **changed}
        return typed_params.encode(list(values.items()), constants_migrate.MIGRATE_PARAMS)

    async def prepare_tunnel(self, client: rpc.Client) -> Stream:
        args = remote_migrate.Prepare3ParamsArgs(self.params(), self.cookie(), TUNNEL)
        _, stream = await client.open_stream(remote_migrate.DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS, args)
        return stream

    async def prepare(self, client: rpc.Client, flags: int = DIRECT) -> str:
        """Not by a stream of its own: the ticket that opens the data path."""
        args = remote_migrate.Prepare3ParamsArgs(self.params(), self.cookie(attempt=self.attempt), flags)
        answer = await client.call(remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS, args)
        return uris.parse(answer.uri_out or "").parameters["culvert-migration"]

    async def finish(
        self, client: rpc.Client, flags: int = TUNNEL, *, cancelled: bool = False, cookie_in: bytes = b""
    ) -> shapes.DomainCookieRet:
        args = remote_migrate.Finish3ParamsArgs(self.params(), cookie_in, flags, int(cancelled))
        return await client.call(remote_migrate.DOMAIN_MIGRATE_FINISH3_PARAMS, args)


@asynccontextmanager
async def connected(host: DaemonProcess) -> AsyncIterator[rpc.Client]:
    async with rpc.connect(host.tcp_uri) as client:
        await prologue.open_connection(client)
        yield client


@asynccontextmanager
async def refused(code: ErrorCode | None = None, words: str | None = None) -> AsyncIterator[None]:
    """The block ends with the daemon's refusal."""
    with pytest.raises(errors.RemoteError, match=words) as caught:
        yield
    assert code is None or caught.value.remote_code == code, caught.value


@pytest.fixture
def attempt(folder: Path) -> Attempt:
    """A guest with its files."""
    return Attempt(folder)


async def test_finish_without_prepare(host: DaemonProcess, attempt: Attempt) -> None:
    async with connected(host) as client:
        for flags in (TUNNEL, DIRECT, OFFLINE):
            for cancelled in (False, True):
                async with refused(ErrorCode.NO_DOMAIN):
                    await attempt.finish(client, flags, cancelled=cancelled)


async def ask(client: rpc.Client, params: list[types.TypedParam], cookie_in: bytes, flags: int) -> None:
    """Prepare, with or without a tunnel, as the flags say."""
    args = remote_migrate.Prepare3ParamsArgs(params, cookie_in, flags)
    if flags & MigrateFlag.TUNNELLED:
        await client.open_stream(remote_migrate.DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS, args)
    else:
        await client.call(remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS, args)


async def test_prepare_with_garbage(host: DaemonProcess, attempt: Attempt) -> None:
    good = attempt.cookie()
    garbage = [
        b"",
        b"\0",
        good[:-1],
        good[: len(good) // 2] + b"\0",
        b"<a/>\0",
        b"\xff" * 1000 + b"\0",
        b"<" * 1_000_000 + b"\0",
        b"<qemu-migration>" + b"<a>" * 100_000 + b"\0",
        b"<!DOCTYPE d [<!ENTITY e 'x'>]><qemu-migration><name>&e;</name></qemu-migration>\0",
        good.replace(str(attempt.uuid).encode(), b"no-uuid"),
        good.replace(b"<name>", b"<feature name='unheard-of'/><name>"),
        attempt.cookie(of=uuid.uuid4()),
        attempt.cookie(attempt="x" * 100_000),
        attempt.cookie(attempt="a b\nc"),
    ]
    async with connected(host) as client:
        for flags in (DIRECT, TUNNEL):
            for data in garbage:
                async with refused():
                    await ask(client, attempt.params(), data, flags)
            for changed in (
                {"destination_xml": "<domain"},
                {"destination_xml": "<domain/>"},
                {"destination_xml": attempt.guest.xml.replace("<vcpu>1", "<vcpu>x")},
                {"destination_name": "../../x"},
                {"destination_name": "x" * 5000},
                {"destination_name": "a\nb"},
                {"persistent_xml": "<domain/>"},
            ):
                async with refused():
                    await ask(client, attempt.params(**changed), good, flags)
            for wrong in (int(MigrateFlag.TUNNELLED), 1 << 31, int(MigrateFlag.NON_SHARED_DISK), OFFLINE | TUNNEL):
                async with refused():
                    await ask(client, attempt.params(), good, wrong)


async def test_offline_preparations_end_with_their_connection(host: DaemonProcess, folder: Path) -> None:
    """Nothing of them is kept, and there is a limit to how many one may leave lying about."""
    first = Attempt(folder, "first")
    async with connected(host) as client:
        prepared = 0
        with contextlib.suppress(errors.RemoteError):
            for number in range(200):
                each = Attempt(folder, f"g{number}") if number else first
                args = remote_migrate.Prepare3ParamsArgs(each.params(), each.cookie(), OFFLINE)
                await client.call(remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS, args)
                prepared += 1
        assert 0 < prepared < 200
    async with connected(host) as client, refused(ErrorCode.NO_DOMAIN):
        await first.finish(client, OFFLINE)


async def test_a_stream_that_is_no_migration(host: DaemonProcess, attempt: Attempt) -> None:
    """What is wrong with it is QEMU's to say, and its words come back by the stream and by finish."""
    async with connected(host) as client:
        stream = await attempt.prepare_tunnel(client)
        async with refused(words="Not a migration stream"):
            await stream.send(b"GET / HTTP/1.0\r\n\r\n" * 100)
            await stream.finish()
        async with refused(words="Not a migration stream"):
            await attempt.finish(client)
        host.assert_no_leftovers()
        stream = await attempt.prepare_tunnel(client)  # and the next one is welcome
        await stream.abort()


async def test_a_stream_that_is_endless_garbage(host: DaemonProcess, attempt: Attempt) -> None:
    async with connected(host) as client:
        stream = await attempt.prepare_tunnel(client)
        async with refused(words="Not a migration stream"):
            for _ in range(100_000):
                await stream.send(b"\xff" * 65536)


async def test_a_stream_that_ends_before_it_has_begun(host: DaemonProcess, attempt: Attempt) -> None:
    async with connected(host) as client:
        stream = await attempt.prepare_tunnel(client)
        async with refused(words="could not load|ended"):
            await stream.finish()
        async with refused():
            await attempt.finish(client)


async def test_a_stream_that_its_client_aborts(host: DaemonProcess, attempt: Attempt) -> None:
    async with connected(host) as client:
        stream = await attempt.prepare_tunnel(client)
        await stream.send(b"QEVM")
        await stream.abort()
        async with refused():
            await attempt.finish(client)
        host.assert_no_leftovers()


async def test_data_after_the_end(host: DaemonProcess, attempt: Attempt) -> None:
    async with connected(host) as client:
        stream = await attempt.prepare_tunnel(client)
        async with refused():
            await stream.finish()
        for _ in range(3):
            with pytest.raises(errors.RequestError):
                await stream.send(b"more")
        assert (await client.call(remote_connect.CONNECT_GET_TYPE, Void())).type == "QEMU"
        async with refused():
            await attempt.finish(client, cancelled=True)


async def test_finish_before_any_data(host: DaemonProcess, attempt: Attempt) -> None:
    async with connected(host) as client:
        await attempt.prepare(client)
        async with refused(ErrorCode.OPERATION_INVALID, "no data was ever sent"):
            await attempt.finish(client, DIRECT, cookie_in=attempt.granting())
        host.assert_no_leftovers()


async def test_finish_without_the_grant(host: DaemonProcess, attempt: Attempt, folder: Path) -> None:
    """Nobody but the source lets the guest run: not without a cookie, not with another attempt's grant."""
    async with connected(host) as client:
        await attempt.prepare(client)
        for cookie_in in (b"", Attempt(folder, "other").granting(), attempt.cookie(attempt="0" * 8)):
            async with refused(ErrorCode.OPERATION_INVALID, "not opened by the grant"):
                await attempt.finish(client, DIRECT, cookie_in=cookie_in)
        async with refused(ErrorCode.MIGRATE_FINISH_OK):
            await attempt.finish(client, DIRECT, cancelled=True)


async def test_who_is_not_the_source_asks_what_became_of_it(host: DaemonProcess, attempt: Attempt) -> None:
    """To ask ends an attempt that nobody finishes: neither who may only look does that, nor who knows its name."""
    dom = types.Domain(attempt.guest.name, attempt.uuid.bytes, -1)
    rows: tuple[tuple[Procedure[Any, Any], Any], ...] = (
        (culvert.MIGRATION_OUTCOME, culvert.MigrationOutcomeArgs(dom, attempt.attempt, grant.seal("0" * 64))),
        (culvert_wire_1.MIGRATION_OUTCOME_1, culvert_wire_1.MigrationOutcome1Args(dom, attempt.attempt)),
    )
    sealed = culvert.MigrationOutcomeArgs(dom, attempt.attempt, grant.seal(attempt.grant))
    async with connected(host) as client, connected(host) as other, rpc.connect(host.tcp_uri) as reader:
        await prologue.open_connection(reader, read_only=True)
        await attempt.prepare(client)
        for row, args in (*rows, (culvert.MIGRATION_OUTCOME, sealed)):
            async with refused(ErrorCode.OPERATION_DENIED, "the connection is read-only"):
                await reader.call(row, args)
        for row, args in rows:
            async with refused(ErrorCode.AUTH_FAILED, "is told to its source"):
                await other.call(row, args)
        (told,) = (await reader.call(culvert.MIGRATION_HISTORY, culvert.MigrationHistoryArgs("", 1))).records
        record = json.loads(told)
        shown = await reader.call(culvert.MIGRATION_SHOW, culvert.MigrationShowArgs(record["id"]))
        assert (record["domain"], record["attempt"], record["over"]) == (attempt.guest.name, "", False)
        assert attempt.attempt not in told + shown.record
        (told,) = (await other.call(culvert.MIGRATION_HISTORY, culvert.MigrationHistoryArgs("", 1))).records
        assert json.loads(told)["attempt"] == attempt.attempt
        assert grant.seal(attempt.grant) not in told
        answer = await other.call(culvert.MIGRATION_OUTCOME, sealed)
        assert answer.outcome == culvert.Outcome.GONE
        async with refused():
            await attempt.finish(client, DIRECT, cancelled=True)


async def test_finish_by_another_connection_than_prepared(host: DaemonProcess, attempt: Attempt) -> None:
    """A libvirtd has no grant: the connection that prepared stands for it."""
    async with connected(host) as client, connected(host) as other:
        stream = await attempt.prepare_tunnel(client)
        async with refused(ErrorCode.OPERATION_INVALID, "not opened by the grant"):
            await attempt.finish(other)
        async with refused(ErrorCode.MIGRATE_FINISH_OK):
            await attempt.finish(client, cancelled=True)
        await stream.abort()


async def test_finish_that_is_overtaken_by_an_abort(host: DaemonProcess, attempt: Attempt) -> None:
    """QEMU waits for the rest of a stream that will not come: it is told."""
    async with connected(host) as client:
        stream = await attempt.prepare_tunnel(client)
        await stream.send(b"QEVM")
        async with refused():
            async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
                finishing = tasks.create_task(_outcome(attempt.finish(client)), name="finish")
                await asyncio.to_thread(wait_for, lambda: "state=finish3" in host.log, "finish has begun")
                await stream.abort()
            raise finishing.result()


async def _outcome(work: object) -> errors.RemoteError:
    with pytest.raises(errors.RemoteError) as caught:
        await work  # type: ignore[misc]
    return caught.value


async def test_finish_with_garbage_in_its_cookie(host: DaemonProcess, attempt: Attempt) -> None:
    async with connected(host) as client:
        await attempt.prepare_tunnel(client)
        async with refused(words="cookie"):
            await attempt.finish(client, cookie_in=b"garbage")
        host.assert_no_leftovers()


async def test_the_same_guest_prepared_twice(host: DaemonProcess, attempt: Attempt) -> None:
    async with connected(host) as client:
        stream = await attempt.prepare_tunnel(client)
        async with refused(words="migrated to this host already"):
            await attempt.prepare_tunnel(client)
        async with refused(ErrorCode.MIGRATE_FINISH_OK):
            await attempt.finish(client, cancelled=True)
        await stream.abort()


@pytest.mark.parametrize("tunnelled", [False, True], ids=["direct", "tunnelled"])
async def test_a_connection_that_goes_after_prepare(host: DaemonProcess, attempt: Attempt, tunnelled: bool) -> None:
    async with rpc.connect(host.tcp_uri) as client:
        await prologue.open_connection(client)
        await (attempt.prepare_tunnel(client) if tunnelled else attempt.prepare(client))
        client.connection.abort("gone")
    host.assert_no_leftovers()


async def test_the_source_steps_out_of_order(host: DaemonProcess, folder: Path) -> None:
    """A guest that runs is not lost by whatever a client says of a migration that never was."""
    with running_tiny(host, folder) as guest:
        async with connected(host) as client:
            dom = (await client.call(remote_list.DOMAIN_LOOKUP_BY_NAME, remote_list.NameArgs(guest.name))).dom
            begin = remote_migrate.Begin3ParamsArgs(dom, [], DIRECT)
            for cancelled in (False, True):
                confirm = remote_migrate.Confirm3ParamsArgs(dom, [], b"", DIRECT, int(cancelled))
                with contextlib.suppress(errors.RemoteError):
                    await client.call(remote_migrate.DOMAIN_MIGRATE_CONFIRM3_PARAMS, confirm)
            confirm = remote_migrate.Confirm3ParamsArgs(dom, [], b"", DIRECT, 0)
            async with refused(ErrorCode.OPERATION_INVALID):
                await client.call(remote_migrate.DOMAIN_MIGRATE_CONFIRM3_PARAMS, confirm)
            perform = remote_migrate.Perform3ParamsArgs(dom, None, [], b"", DIRECT)
            async with refused(ErrorCode.OPERATION_INVALID):
                await client.call(remote_migrate.DOMAIN_MIGRATE_PERFORM3_PARAMS, perform)
            # A begin that is confirmed without a perform: nothing has moved.
            await client.call(remote_migrate.DOMAIN_MIGRATE_BEGIN3_PARAMS, begin)
            async with refused(ErrorCode.OPERATION_INVALID):
                await client.call(remote_migrate.DOMAIN_MIGRATE_BEGIN3_PARAMS, begin)
            async with refused(ErrorCode.OPERATION_INVALID):
                await client.call(remote_migrate.DOMAIN_MIGRATE_CONFIRM3_PARAMS, confirm)
            async with refused():
                await client.call(remote_migrate.DOMAIN_MIGRATE_PERFORM3_PARAMS, perform)
            async with refused():
                await client.call(
                    remote_migrate.DOMAIN_MIGRATE_PERFORM3_PARAMS,
                    remote_migrate.Perform3ParamsArgs(dom, "rubbish", [], b"\xff", TUNNEL),
                )
            # A begin whose connection goes.
            async with connected(host) as other:
                with contextlib.suppress(errors.RemoteError):
                    await other.call(remote_migrate.DOMAIN_MIGRATE_BEGIN3_PARAMS, begin)
        guest.assert_runs_only_on(host)
        virsh("destroy", guest.name, uri=host.uri).expect()
