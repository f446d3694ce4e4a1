from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.io import listener as listeners
from culvert.io.listener import Listener, listen_tcp, listen_unix
from culvert.io.tls_side import ServerSide
from tests.support.pki import Pki


async def dial(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, str(path))
    return sock


async def test_unix_peer_is_who_the_kernel_says(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    listener = await listen_unix(path, mode=0o660)
    assert (listener.transport, listener.name, listener.address) == ("unix", str(path), None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with await dial(path):
        sock, peer = await listener.accept()
        sock.close()
    assert (peer.transport, peer.uid, peer.pid, peer.local_address) == ("unix", os.getuid(), os.getpid(), None)
    listener.close()
    listener.close()
    assert not path.exists()


async def test_tcp_addresses() -> None:
    [listener] = await listen_tcp("127.0.0.1", 0)
    assert listener.address is not None
    host, port = listener.address
    assert (listener.transport, host, listener.name) == ("tcp", "127.0.0.1", f"127.0.0.1:{port}")
    with socket.create_connection((host, port)) as client:
        sock, peer = await listener.accept()
        assert peer.name == f"127.0.0.1:{client.getsockname()[1]}"
        assert (peer.transport, peer.local_address, peer.uid) == ("tcp", (host, port), None)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        sock.close()
    listener.close()


async def test_tls_peer_has_still_to_shake_hands(tmp_path: Path) -> None:
    security = ServerSide(Pki(tmp_path).holder("alpha").server)
    [listener] = await listen_tcp("127.0.0.1", 0, security)
    assert listener.transport == "tls"
    with socket.create_connection(listener.address or ("", 0)):
        sock, peer = await listener.accept()
        assert (peer.transport, peer.security, peer.local_address) == ("tls", security, listener.address)
        sock.close()
    listener.close()


async def test_small_answers_are_not_kept_back() -> None:
    (listener,) = await listen_tcp("127.0.0.1", 0)
    assert listener.address is not None
    _, writer = await asyncio.open_connection(*listener.address)
    sock, _ = await listener.accept()
    for end in (sock, writer.get_extra_info("socket")):
        assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    sock.close()
    writer.close()
    listener.close()


async def test_every_address_of_a_host_gets_the_same_port() -> None:
    found = await listen_tcp("", 0)
    assert len({listener.address[1] for listener in found if listener.address}) == 1
    for listener in found:
        listener.close()


async def test_port_in_use() -> None:
    [listener] = await listen_tcp("127.0.0.1", 0)
    assert listener.address is not None
    with pytest.raises(errors.SystemCallError, match=f"cannot listen on {listener.name}: ") as refused:
        await listen_tcp(*listener.address)
    assert refused.value.errno == errno.EADDRINUSE
    listener.close()


async def test_unknown_host() -> None:
    with pytest.raises(errors.SystemCallError, match=r"cannot listen on no\.such\.host\.invalid:1") as unknown:
        await listen_tcp("no.such.host.invalid", 1)
    assert unknown.value.errno is None


async def test_path_longer_than_an_address(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 100) / ("b" * 100)
    folder.mkdir(parents=True)
    path = folder / "sock"
    listener = await listen_unix(path)
    assert path.is_socket()
    with pytest.raises(errors.ResourceBusy):
        await listen_unix(path)
    listener.close()
    assert not path.exists()


async def test_name_longer_than_an_address(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument, match="too long"):
        await listen_unix(tmp_path / ("s" * 120))


async def test_live_daemon_is_not_pushed_aside(tmp_path: Path) -> None:
    first = await listen_unix(tmp_path / "sock")
    with pytest.raises(errors.ResourceBusy, match="another daemon is listening"):
        await listen_unix(tmp_path / "sock")
    with await dial(tmp_path / "sock"):
        (await first.accept())[0].close()  # the probe
    first.close()


async def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.exists()
    listener = await listen_unix(path)
    with await dial(path):
        (await listener.accept())[0].close()
    listener.close()


async def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    path.write_text("precious")
    with pytest.raises(errors.ResourceBusy, match="not a socket"):
        await listen_unix(path)
    assert path.read_text() == "precious"


async def test_folder_missing(tmp_path: Path) -> None:
    with pytest.raises(errors.SystemCallError, match="cannot listen on") as refused:
        await listen_unix(tmp_path / "no" / "sock")
    assert refused.value.errno == errno.ENOENT


async def test_close_leaves_the_socket_of_a_successor(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    first = await listen_unix(path)
    path.unlink()
    second = await listen_unix(path)
    first.close()
    assert path.exists()
    second.close()


class Flaky:
    """``sock_accept`` that fails with given errors before it works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, numbers: list[int]) -> None:
        loop = asyncio.get_running_loop()
        real = loop.sock_accept

        async def sock_accept(sock: socket.socket) -> tuple[socket.socket, object]:
            if numbers:
                number = numbers.pop(0)
                raise OSError(number, os.strerror(number))
            return await real(sock)

        monkeypatch.setattr(loop, "sock_accept", sock_accept)
        monkeypatch.setattr(listeners, "_EXHAUSTED_PAUSE", 0.001)


async def test_accept_survives_a_full_descriptor_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = await listen_unix(tmp_path / "sock")
    failures = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED]
    Flaky(monkeypatch, failures)
    with await dial(tmp_path / "sock") as client:
        sock, _ = await listener.accept()
        assert failures == []
        sock.send(b"x")
        sock.close()
        assert await asyncio.get_running_loop().sock_recv(client, 10) == b"x"
    listener.close()


async def test_accept_gives_up_on_a_broken_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = await listen_unix(tmp_path / "sock")
    Flaky(monkeypatch, [errno.EBADF])
    with pytest.raises(OSError, match="Bad file"):
        await listener.accept()
    listener.close()


async def test_adopted_socket() -> None:
    """A socket that somebody else made, as systemd does."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    listener = Listener(sock)
    assert listener.transport == "tcp"
    listener.close()


async def test_the_next_file_with_its_number_is_watched_although_an_accept_still_waits() -> None:
    """As when the daemon stops while it starts a guest: the guest's pidfd must not go unwatched."""
    [listener] = await listen_tcp("127.0.0.1", 0)
    number = listener._socket.fileno()
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(listener.accept())
        await asyncio.sleep(0)
        listener.close()
        with ours, theirs:
            os.dup2(ours.fileno(), number)
            seen = asyncio.Event()
            loop.add_reader(number, seen.set)
            waiting.cancel()
            await asyncio.wait({waiting})
            theirs.send(b"x")
            async with asyncio.timeout(10):
                await seen.wait()
            loop.remove_reader(number)
            os.close(number)
