"""The breakable road, with an echo at its end."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.proxy import Proxy
from tests.support.wait import wait_for


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that answers with what it gets, and ends when its client has ended."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            while data := peer.recv(65536):
                peer.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def test_cut_on_a_pattern_loses_the_piece_that_has_it(echo: int) -> None:
    with Proxy(echo) as proxy, dial(proxy) as peer:
        peer.sendall(b"fine")
        assert peer.recv(100) == b"fine"
        proxy.cut_on(b"secret", then_refuse=True)
        peer.sendall(b"a secret word")
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(100) == b""
        wait_for(lambda: proxy.returned == len(b"fine"), "it has been counted")
        with contextlib.suppress(ConnectionResetError), dial(proxy) as refused:
            assert refused.recv(1) == b""


def dial(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), 10)


def read_all(peer: socket.socket) -> bytes:
    data = b""
    while piece := peer.recv(65536):
        data += piece
    return data


def test_bytes_and_half_close_go_through(echo: int) -> None:
    sent = bytes(range(256)) * 1000
    with Proxy(echo) as proxy, dial(proxy) as peer:
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == sent
        assert (proxy.forwarded, proxy.returned, proxy.connections) == (len(sent), len(sent), 1)


def test_a_cut_ends_the_connection_and_the_next_one_works(echo: int) -> None:
    with Proxy(echo) as proxy:
        with dial(proxy) as peer:
            peer.sendall(b"a")
            assert peer.recv(1) == b"a"
            proxy.cut()
            with contextlib.suppress(ConnectionResetError):
                assert peer.recv(1) == b""
        with dial(proxy) as peer:
            peer.sendall(b"b")
            assert peer.recv(1) == b"b"


def test_cut_after_so_many_bytes(echo: int) -> None:
    with Proxy(echo) as proxy, dial(proxy) as peer:
        proxy.cut_after(100_000)
        with contextlib.suppress(OSError):
            for _ in range(1000):
                peer.sendall(bytes(1000))
            read_all(peer)
        assert 100_000 <= proxy.forwarded < 1_000_000


def test_a_stalled_road_passes_nothing_until_it_is_resumed(echo: int) -> None:
    with Proxy(echo) as proxy, dial(proxy) as peer:
        proxy.stall()
        peer.sendall(b"x")
        peer.settimeout(0.1)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        peer.settimeout(10)
        proxy.resume()
        assert peer.recv(1) == b"x"


def test_refusing(echo: int) -> None:
    with Proxy(echo) as proxy:
        proxy.refuse()
        with contextlib.suppress(ConnectionResetError), dial(proxy) as peer:
            assert peer.recv(1) == b""
        proxy.refuse(False)
        with dial(proxy) as peer:
            peer.sendall(b"y")
            assert peer.recv(1) == b"y"


def test_nobody_behind_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Proxy(port) as proxy, dial(proxy) as peer:
        assert peer.recv(1) == b""


def test_a_piece_is_held_with_what_follows_it_until_it_is_let_go(echo: int) -> None:
    with Proxy(echo, address="127.0.0.2") as proxy:
        proxy.hold_on(b"one", b"two")
        with socket.create_connection(("127.0.0.2", proxy.port), 10) as peer:
            peer.sendall(b"fine")
            assert peer.recv(10) == b"fine"
            peer.sendall(b"the two")
            assert proxy.held.wait(10)
            peer.sendall(b" and more")
            peer.settimeout(0.1)
            with pytest.raises(TimeoutError):
                peer.recv(1)
            peer.settimeout(10)
            proxy.let_go()
            got = b""
            while len(got) < 16:
                got += peer.recv(100)
            assert got == b"the two and more"


def test_what_is_held_is_lost_when_the_road_is_cut(echo: int) -> None:
    with Proxy(echo) as proxy, dial(proxy) as peer:
        proxy.hold_on(b"held")
        peer.sendall(b"held")
        assert proxy.held.wait(10)
        proxy.cut()
        proxy.let_go()
        assert read_all(peer) == b""
