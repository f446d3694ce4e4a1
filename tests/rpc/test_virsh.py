"""The unmodified virsh against a server of a few handlers."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.protocol import remote, remote_connect, remote_domain, remote_event, remote_list, remote_register, shapes
from culvert.protocol.shapes import ListAllArgs
from culvert.protocol.types import Domain
from culvert.rpc.answer import StreamBody
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.rpc.stream import Stream
from culvert.xdr.struct import Void
from tests.rpc.support import serving

VIRSH = shutil.which("virsh")
pytestmark = pytest.mark.skipif(VIRSH is None, reason="virsh is not installed")

KEEPALIVE_FEATURE = 10
SUPPORTED = {10, 14, 15}

handlers = Handlers(remote.PROGRAM)


@handlers.serves(remote_connect.AUTH_LIST)
async def auth_list(session: Session, args: Void) -> remote_connect.AuthListRet:
    return remote_connect.AuthListRet([0])


@handlers.serves(remote_connect.CONNECT_SUPPORTS_FEATURE)
async def supports_feature(session: Session, args: remote_connect.FeatureArgs) -> remote_connect.FeatureRet:
    if args.feature == KEEPALIVE_FEATURE:
        session.keepalive_wanted = True
    return remote_connect.FeatureRet(int(args.feature in SUPPORTED))


@handlers.serves(remote_connect.CONNECT_OPEN)
async def connect_open(session: Session, args: remote_connect.ConnectOpenArgs) -> Void:
    session.opened = True
    session.data["name"] = args.name
    return Void()


@handlers.serves(remote_connect.CONNECT_CLOSE)
async def connect_close(session: Session, args: Void) -> Void:
    session.close_after_reply()
    return Void()


@handlers.serves(remote_connect.CONNECT_REGISTER_CLOSE_CALLBACK)
async def register(session: Session, args: Void) -> Void:
    return Void()


@handlers.serves(remote_connect.CONNECT_UNREGISTER_CLOSE_CALLBACK)
async def unregister(session: Session, args: Void) -> Void:
    return Void()


@handlers.serves(remote_connect.CONNECT_GET_HOSTNAME)
async def hostname(session: Session, args: Void) -> remote_connect.HostnameRet:
    return remote_connect.HostnameRet("culvert-test")


@handlers.serves(remote_list.CONNECT_LIST_ALL_DOMAINS)
async def list_all_domains(session: Session, args: ListAllArgs) -> remote_list.DomainsRet:
    return remote_list.DomainsRet([], 0)


GUEST = Domain("guest", bytes(range(16)), 1)
PICTURE = b"P6\n" + bytes(range(256)) * 8192  # 2 MiB: more than one packet
console_ended: list[str] = []


@handlers.serves(remote_list.DOMAIN_LOOKUP_BY_NAME)
async def lookup(session: Session, args: remote_list.NameArgs) -> shapes.DomainRet:
    if args.name != GUEST.name:
        raise errors.NoDomain(f"no domain with matching name '{args.name}'")
    return shapes.DomainRet(GUEST)


@handlers.serves(remote_domain.DOMAIN_GET_STATE)
async def state(session: Session, args: shapes.DomainFlagsArgs) -> remote_domain.DomainGetStateRet:
    return remote_domain.DomainGetStateRet(1, 1)


@handlers.streams(remote_domain.DOMAIN_SCREENSHOT)
async def screenshot(
    session: Session, args: remote_domain.DomainScreenshotArgs
) -> tuple[remote_domain.ScreenshotRet, StreamBody]:
    async def body(stream: Stream) -> None:
        if args.screen == 1:
            raise errors.OperationFailed("the screen is dark")
        await stream.send(PICTURE)
        if args.screen == 2:
            raise errors.OperationFailed("the screen went dark")

    return remote_domain.ScreenshotRet("image/x-portable-pixmap"), body


@handlers.streams(remote_domain.DOMAIN_OPEN_CONSOLE)
async def console(session: Session, args: remote_domain.DomainOpenConsoleArgs) -> tuple[Void, StreamBody]:
    async def body(stream: Stream) -> None:
        await stream.send(b"welcome\r\n")
        while data := await stream.recv():
            await stream.send(data.upper())
        console_ended.append("finished")

    return Void(), body


@handlers.serves(remote_register.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY)
async def register_event(session: Session, args: shapes.DomainEventIDArgs) -> shapes.CallbackIDRet:
    # libvirt's client drops what comes before the reply has told it the callback's id.
    def post() -> None:
        session.post(remote_event.DOMAIN_EVENT_CALLBACK_LIFECYCLE, remote_event.LifecycleEvent(7, GUEST, 2, 0))

    for turn in range(1, 50):
        asyncio.get_running_loop().call_later(turn / 10, post)
    return shapes.CallbackIDRet(7)


@handlers.serves(remote_register.CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY)
async def deregister_event(session: Session, args: shapes.CallbackIDArgs) -> Void:
    return Void()


async def virsh(uri: str, *words: str) -> tuple[int, str, str]:
    assert VIRSH is not None
    process = await asyncio.create_subprocess_exec(
        *(VIRSH, "-c", uri, *words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_virsh(transport: str, tmp_path: Path) -> None:
    path = tmp_path / "sock" if transport == "unix" else None
    async with serving(handlers, path=path) as (server, uri):
        text = str(uri)
        assert await virsh(text, "list", "--all") == (0, " Id   Name   State\n--------------------\n\n", "")
        assert await virsh(text, "hostname") == (0, "culvert-test\n\n", "")
        # A procedure nobody serves is refused as libvirt refuses it, and the connection lives on.
        _, out, err = await virsh(text, "nodeinfo; hostname")
        assert "culvert-test" in out
        assert "this function is not supported by the connection driver: virNodeGetInfo" in err
        # CONNECT_CLOSE closes on this side.
        async with asyncio.timeout(5):
            while server.sessions:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_screenshot(tmp_path: Path) -> None:
    """A download, whole and broken, by a client that is not ours."""
    picture = tmp_path / "picture"
    async with serving(handlers, path=tmp_path / "sock") as (_, uri):
        code, _, err = await virsh(str(uri), "screenshot", "guest", str(picture))
        assert (code, err) == (0, "")
        assert picture.read_bytes() == PICTURE
        for screen, text in (("1", "the screen is dark"), ("2", "the screen went dark")):
            code, _, err = await virsh(str(uri), "screenshot", "guest", str(picture), "--screen", screen)
            assert (code, text in err) == (1, True)
        code, _, err = await virsh(str(uri), "screenshot", "nobody", str(picture))
        assert "failed to get domain 'nobody'" in err


async def test_console(tmp_path: Path) -> None:
    """Both directions at once, ended by the client."""
    console_ended.clear()
    async with serving(handlers, path=tmp_path / "sock") as (server, uri):
        ours, theirs = pty.openpty()
        assert VIRSH is not None
        process = await asyncio.create_subprocess_exec(
            *(VIRSH, "-c", str(uri), "console", "guest"), stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        os.set_blocking(ours, False)
        shown = bytearray()
        loop = asyncio.get_running_loop()
        more = asyncio.Event()

        def readable() -> None:
            try:
                shown.extend(os.read(ours, 65536))
            except OSError:
                loop.remove_reader(ours)
            more.set()

        loop.add_reader(ours, readable)

        async def expect(text: bytes) -> None:
            while text not in shown:
                more.clear()
                await more.wait()

        try:
            async with asyncio.timeout(20):
                await expect(b"welcome")
                os.write(ours, b"hello")
                await expect(b"HELLO")
                os.write(ours, b"\x1d")  # Ctrl-]
                assert await process.wait() == 0
                while server.sessions:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        finally:
            loop.remove_reader(ours)
            os.close(ours)
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert console_ended == ["finished"]


async def test_events(tmp_path: Path) -> None:
    async with serving(handlers, path=tmp_path / "sock") as (_, uri):
        code, out, _ = await virsh(str(uri), "event", "--event", "lifecycle", "--timeout", "10")
        assert code == 0
        assert "event 'lifecycle' for domain 'guest': Started Booted" in out


async def test_keepalive_with_a_real_client(tmp_path: Path) -> None:
    """virsh pings every second while nothing comes; the server is told to ping as often."""
    async with serving(handlers, path=tmp_path / "sock", keepalive=(1, 5)) as (server, uri):
        words = ("event", "--event", "reboot", "--loop", "--timeout", "3")
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(virsh(str(uri), *words), name="virsh")
            while not server.sessions:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            [session] = server.sessions.values()
        _, out, err = running.result()
        assert "event loop timed out" in out + err
        assert "keepalive" not in session.connection.reason
        assert session.connection.reason == "the client has closed the connection"
