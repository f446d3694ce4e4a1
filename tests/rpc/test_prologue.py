from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.protocol import remote, remote_connect
from culvert.rpc.client import connect
from culvert.rpc.dispatch import Handlers
from culvert.rpc.prologue import close_connection, open_connection
from culvert.rpc.session import Session
from culvert.xdr.struct import Void
from tests.rpc.support import serving, until


class Daemon:
    """A daemon with as much of a prologue as a test wants."""

    def __init__(self, *, auth: Sequence[int] | None = (0,), keepalive: bool | None = True) -> None:
        self.handlers = Handlers(remote.PROGRAM)
        self.opened: list[tuple[str | None, int]] = []
        self.auth = auth
        self.keepalive = keepalive
        if auth is not None:
            self.handlers.add(remote_connect.AUTH_LIST, self.auth_list)
        if keepalive is not None:
            self.handlers.add(remote_connect.CONNECT_SUPPORTS_FEATURE, self.feature)
        self.handlers.add(remote_connect.CONNECT_OPEN, self.open)
        self.handlers.add(remote_connect.CONNECT_CLOSE, self.close)

    async def auth_list(self, session: Session, args: Void) -> remote_connect.AuthListRet:
        return remote_connect.AuthListRet(list(self.auth or ()))

    async def feature(self, session: Session, args: remote_connect.FeatureArgs) -> remote_connect.FeatureRet:
        assert args.feature == 10
        return remote_connect.FeatureRet(int(bool(self.keepalive)))

    async def open(self, session: Session, args: remote_connect.ConnectOpenArgs) -> Void:
        self.opened.append((args.name, args.flags))
        session.opened = True
        return Void()

    async def close(self, session: Session, args: Void) -> Void:
        session.close_after_reply()
        return args


@pytest.mark.parametrize(
    ("daemon", "alive"),
    [
        (Daemon(), True),
        (Daemon(keepalive=False), False),
        (Daemon(keepalive=None), False),
        (Daemon(auth=None), True),
        (Daemon(auth=()), True),
    ],
)
async def test_open_and_close(daemon: Daemon, alive: bool, tmp_path: Path) -> None:
    async with serving(daemon.handlers, path=tmp_path / "sock") as (server, uri):
        async with connect(uri.with_parameters(streams="4")) as client:
            await open_connection(client)
            assert client.connection.keepalive is alive
            await close_connection(client)
            await client.closed.wait()
            await close_connection(client)
        await until(lambda: not server.sessions)
    assert daemon.opened == [("qemu:///system?streams=4", 0)]


async def test_read_only_and_another_name(tmp_path: Path) -> None:
    daemon = Daemon()
    async with serving(daemon.handlers, path=tmp_path / "sock") as (_, uri), connect(uri) as client:
        await open_connection(client, "qemu:///session", read_only=True)
    assert daemon.opened == [("qemu:///session", 1)]


@pytest.mark.parametrize(("kind", "name"), [(1, "sasl"), (2, "polkit"), (77, "77")])
async def test_authentication_that_culvert_does_not_have(kind: int, name: str, tmp_path: Path) -> None:
    daemon = Daemon(auth=(kind,))
    async with serving(daemon.handlers, path=tmp_path / "sock") as (_, uri), connect(uri) as client:
        with pytest.raises(errors.AuthenticationFailed, match=f"wants authentication '{name}'"):
            await open_connection(client)
    assert not daemon.opened
