from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path

import pytest

from culvert.ground import errors, uri
from culvert.io import connector
from culvert.io.listener import listen_tcp, listen_unix
from tests.support.pki import Pki


def to(text: str) -> uri.ConnectionURI:
    return uri.parse(text)


class Greeted(asyncio.Protocol):
    """Remembers its transport."""

    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("qemu+unix:///system?socket=/a/b", "/a/b"),
        ("qemu:///system", "/run/libvirt/libvirt-sock"),
        ("qemu+tcp://host/system", "host:16509"),
        ("qemu+tcp://[::1]:7/system", "[::1]:7"),
    ],
)
def test_peer_name(text: str, name: str) -> None:
    assert connector.peer_name(to(text)) == name


async def test_unix_with_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 120)
    folder.mkdir()
    listener = await listen_unix(folder / "sock")
    protocol = await connector.connect(to(f"qemu+unix:///system?socket={folder}/sock"), Greeted)
    assert protocol.transport is not None
    protocol.transport.close()
    listener.close()


async def test_tcp() -> None:
    [listener] = await listen_tcp("127.0.0.1", 0)
    protocol = await connector.connect(to(f"qemu+tcp://{listener.name}/system"), Greeted)
    assert protocol.transport is not None
    sock = protocol.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    protocol.transport.close()
    listener.close()


async def test_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.SystemCallError, match=r"unable to connect to server at '127\.0\.0\.1:1'") as refused:
        await connector.connect(to("qemu+tcp://127.0.0.1:1/system"), Greeted)
    assert refused.value.errno == errno.ECONNREFUSED
    with pytest.raises(errors.SystemCallError, match=r"unable to connect.*No such file") as missing:
        await connector.connect(to(f"qemu+unix:///system?socket={tmp_path}/sock"), Greeted)
    assert missing.value.errno == errno.ENOENT


async def test_unknown_host() -> None:
    told = r"unable to resolve address 'no\.such\.host\.invalid' service '16509': "
    with pytest.raises(errors.SystemCallError, match=told) as unknown:
        await connector.connect(to("qemu+tcp://no.such.host.invalid/system"), Greeted)
    assert isinstance(cause := unknown.value.__cause__, socket.gaierror)
    assert str(cause.strerror) in str(unknown.value)
    assert unknown.value.errno is None


@pytest.mark.parametrize("name", ["a..b", "a" * 64 + ".invalid", ".invalid"])
@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_what_no_resolver_would_be_asked_for(name: str, transport: str, tmp_path: Path) -> None:
    folder = Pki(tmp_path / "pki").holder("nobody").folder
    where = to(f"qemu+{transport}://{name}/system?pkipath={folder}")
    with pytest.raises(errors.RequestError, match=r"resolve|no host name|cannot be read|host") as refused:
        await connector.connect(where, Greeted)
    assert name in str(refused.value)
    with pytest.raises(errors.SystemCallError, match="cannot listen on"):
        await listen_tcp(name, 0)


async def test_deadline_and_a_queue_that_gets_room(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    target = to(f"qemu+unix:///system?socket={path}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as full:
        full.bind(str(path))
        full.listen(0)
        first = await connector.connect(target, Greeted)
        with pytest.raises(errors.OperationTimeout, match=r"no answer in 0\.1 s"):
            await connector.connect(target, Greeted, timeout=0.1)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(connector.connect(target, Greeted, timeout=10), name="waiting")
            await asyncio.sleep(0.01)
            full.accept()[0].close()
        for protocol in (first, waiting.result()):
            assert protocol.transport is not None
            protocol.transport.close()


async def test_transport_that_is_not_there() -> None:
    with pytest.raises(errors.OperationUnsupported, match="transport 'pigeon'"):
        await connector.connect(uri.ConnectionURI("qemu", "pigeon", "host"), Greeted)


async def test_tls_without_certificates_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument, match=rf"{tmp_path}/cacert\.pem does not exist"):
        await connector.connect(to(f"qemu+tls://127.0.0.1:1/system?pkipath={tmp_path}"), Greeted)


async def test_tls_to_nobody(tmp_path: Path) -> None:
    folder = Pki(tmp_path).holder("alpha").folder
    with pytest.raises(errors.SystemCallError, match=r"unable to connect to server at '127\.0\.0\.1:1'"):
        await connector.connect(to(f"qemu+tls://127.0.0.1:1/system?pkipath={folder}"), Greeted)
