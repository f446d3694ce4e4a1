"""Carriers: what is accepted is sent, what comes is told apart from the end, TLS's own messages harm nobody."""

from __future__ import annotations

import os
import select
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from culvert.ground.units import KiB, MiB
from culvert.io.detached import Detached, TlsSession
from culvert.io.tls_context import client_context, server_context
from culvert.tunnel import data_connection
from culvert.tunnel.ahead import LEAST
from culvert.tunnel.data_connection import TCP_NOTSENT_LOWAT, Closed, DataConnection
from tests.support.pki import Holder, Pki
from tests.tunnel import support
from tests.tunnel.support import Network

NOTHING = memoryview(b"")


@pytest.fixture(scope="module")
def holder(tmp_path_factory: pytest.TempPathFactory) -> Holder:
    return Pki(Path(tmp_path_factory.mktemp("pki"))).holder("host")


@pytest.fixture(params=["plain", "tls"])
def network(request: pytest.FixtureRequest, holder: Holder) -> Callable[[], Network]:
    contexts = client_context(holder.client), server_context(holder.server)
    return support.tcp if request.param == "plain" else lambda: support.tls(contexts)


def receive(end: DataConnection, count: int, size: int = 64 * KiB) -> bytes:
    """``count`` bytes, waiting for them."""
    received = bytearray()
    while len(received) < count:
        buffer = bytearray(min(size, count - len(received)))
        if not (got := end.receive([memoryview(buffer)])):
            assert select.select([end.sock], [], [], 10)[0]
        received += buffer[:got]
        end.flush()
    return bytes(received)


def test_the_kernel_takes_no_more_than_it_is_told(network: Callable[[], Network]) -> None:
    here, _ = (data_connection.over(end) for end in network())
    for count in (LEAST, 0):
        here.hold(count)
        assert here.sock.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT) == count


def test_more_than_the_network_takes_is_accepted_in_parts(network: Callable[[], Network]) -> None:
    here, there = (data_connection.over(end) for end in network())
    header, payload = b"20 bytes of a header", os.urandom(16 * MiB)
    left, received, refused = memoryview(payload), bytearray(), 0
    count = here.send(memoryview(header), left)
    left = left[count - len(header) :]
    while left or here.unsent:
        count = here.send(NOTHING, left) if left else 0
        left = left[count:]
        refused += count == 0
        here.flush()
        buffer = bytearray(100_000)
        received += buffer[: there.receive([memoryview(buffer)])]
    received += receive(there, len(header) + len(payload) - len(received))
    assert received == header + payload
    assert refused
    assert here.sent == there.received >= len(received)
    here.close()
    there.close()


def test_buffers_are_filled_one_after_the_other(network: Callable[[], Network]) -> None:
    here, there = (data_connection.over(end) for end in network())
    here.send(memoryview(b"head"), memoryview(b"payload" * 10_000))
    assert select.select([there.sock], [], [], 10)[0]
    first, second = bytearray(3), bytearray(5)
    assert there.receive([memoryview(first), memoryview(second)]) == 8
    assert first + second == b"headpayl"
    here.close()
    there.close()


@pytest.mark.parametrize("size", [1, 3, 100])
def test_what_was_received_before_comes_first(network: Callable[[], Network], size: int) -> None:
    near, far = network()
    here = data_connection.over(near)
    there = data_connection.over(Detached(far.sock, far.session, b"leftover"))
    assert there.buffered
    here.send(memoryview(b" and more"), NOTHING)
    assert receive(there, 17, size) == b"leftover and more"
    assert not there.buffered
    here.close()
    there.close()


def test_the_end_comes_after_everything_and_nothing_is_not_the_end(network: Callable[[], Network]) -> None:
    here, there = (data_connection.over(end) for end in network())
    buffer = memoryview(bytearray(10))
    assert there.receive([buffer]) == 0
    here.send(memoryview(b"last"), NOTHING)
    here.shutdown()
    assert receive(there, 4) == b"last"
    assert select.select([there.sock], [], [], 10)[0]
    for _ in range(2):
        with pytest.raises(Closed):
            there.receive([buffer])
    here.close()
    there.close()


def test_a_reset_is_an_error(network: Callable[[], Network]) -> None:
    here, there = (data_connection.over(end) for end in network())
    here.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    here.close()
    assert select.select([there.sock], [], [], 10)[0]
    with pytest.raises(OSError, match="reset"):
        there.receive([memoryview(bytearray(10))])
    there.close()


def test_ciphertext_that_was_tampered_with_is_an_error(holder: Holder) -> None:
    near, far = support.tls((client_context(holder.client), server_context(holder.server)))
    there = data_connection.over(far)
    near.sock.send(bytes.fromhex("1703030020") + os.urandom(32))
    assert select.select([there.sock], [], [], 10)[0]
    with pytest.raises(ssl.SSLError):
        there.receive([memoryview(bytearray(10))])
    near.sock.close()
    there.close()


def test_a_key_update_in_the_middle_is_answered_and_harms_nothing(holder: Holder) -> None:
    """``openssl s_client`` updates its keys at a line ``K`` and asks for ours to be updated too."""
    context = server_context(holder.server)
    with socket.create_server((support.HOST, 0)) as listener:
        files = holder.client
        connect = ["openssl", "s_client", "-tls1_3", "-connect", f"{support.HOST}:{listener.getsockname()[1]}"]
        client = subprocess.Popen(
            [*connect, "-cert", files.cert, "-key", files.key, "-CAfile", files.ca],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        sock, _ = listener.accept()
    assert client.stdin is not None
    assert client.stdout is not None
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(64 * KiB))
    sock.setblocking(False)
    end = data_connection.over(Detached(sock, TlsSession(tls, incoming, outgoing)))
    for line in (b"before\n", b"K\n", b"after\n", b"K\n", b"at last\n"):
        client.stdin.write(line)
        client.stdin.flush()
        answer = b"KEYUPDATE\n"
        if line != b"K\n":
            assert receive(end, len(line)) == line
            answer = b"answer to " + line
            assert end.send(memoryview(answer), NOTHING) == len(answer)
            assert end.flush()
        while (said := client.stdout.readline()) != answer:
            assert said, "s_client ended"
    end.shutdown()
    end.close()
    client.stdin.close()
    client.stdout.close()
    client.wait(10)


class Breaking:
    """A socket that takes some bytes and then breaks."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.taken = 0

    def send(self, data: memoryview) -> int:
        if self.taken:
            raise BrokenPipeError
        self.taken = self._sock.send(data)
        return self.taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_what_has_gone_out_before_the_break_counts(holder: Holder) -> None:
    """The peer will say that it has it; a sender that does not know of it could not go on from there."""
    near, far = support.tls((client_context(holder.client), server_context(holder.server)))
    here, there = (
        data_connection.over(Detached(cast(socket.socket, Breaking(near.sock)), near.session)),
        data_connection.over(far),
    )
    header, payload = b"20 bytes of a header", os.urandom(MiB)
    count = here.send(memoryview(header), memoryview(payload))
    assert receive(there, len(header) + KiB)[len(header) :] == payload[:KiB]
    assert count >= len(header) + KiB
    with pytest.raises(BrokenPipeError):
        here.send(NOTHING, memoryview(payload))
    with pytest.raises(BrokenPipeError):
        here.flush()
    here.close()
    there.close()
