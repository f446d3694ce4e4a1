"""Two pumps with a network between them, and what plays QEMU at either end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from culvert.ground import errors
from culvert.ground.units import KiB
from culvert.io.detached import Detached, TlsSession
from culvert.tunnel import relay
from culvert.tunnel.limits import ChannelLimits
from culvert.tunnel.pump import Pump

DEADLINE = 60.0
HOST = "127.0.0.1"
SMALL = ChannelLimits(window=64 * KiB, inbound=32 * KiB, chunk=16 * KiB)

Network = tuple[Detached, Detached]


@dataclass(slots=True)
class Side:
    """One host: its pump, QEMU's end of the socket to it, and the losses that the pump has reported."""

    name: str
    pump: Pump
    guest: socket.socket
    losses: asyncio.Queue[errors.ConnectionLost] = field(default_factory=asyncio.Queue)


class Channel:
    """Sides ``a`` and ``b``, which ``connect`` joins as the two daemons do."""

    def __init__(self, limits: ChannelLimits, compression: str) -> None:
        self.a = side("a", limits, compression)
        self.b = side("b", limits, compression)

    async def connect(self, network: Network) -> None:
        """Each side hears how much the other has, and goes on over its end of ``network``."""
        received = [await self.a.pump.detach(), await self.b.pump.detach()]
        await self.a.pump.attach(network[0], received[1])
        await self.b.pump.attach(network[1], received[0])

    async def wait(self) -> None:
        await self.a.pump.wait()
        await self.b.pump.wait()


def side(name: str, limits: ChannelLimits = SMALL, compression: str = "off") -> Side:
    """A side whose pump runs."""
    ours, guest = relay.channel()
    guest.setblocking(False)
    losses: asyncio.Queue[errors.ConnectionLost] = asyncio.Queue()
    pump = Pump(f"test-{name}", ours, limits, compression=compression, on_lost=losses.put_nowait)
    pump.start()
    return Side(name, pump, guest, losses)


@asynccontextmanager
async def channel(limits: ChannelLimits = SMALL, compression: str = "off") -> AsyncIterator[Channel]:
    """A channel without a connection; at the end everything has to be gone that it opened."""
    with nothing_leaks():
        async with asyncio.timeout(DEADLINE):
            made = Channel(limits, compression)
            try:
                yield made
            finally:
                for end in (made.a, made.b):
                    end.pump.close(0)
                    end.guest.close()
                    await end.pump.closed()


class nothing_leaks:  # noqa: N801  # reads as a statement
    """As many descriptors and no more threads of pumps afterwards than before."""

    def __enter__(self) -> None:
        self._before = open_descriptors()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            assert open_descriptors() == self._before, "descriptors"
            assert not [t for t in threading.enumerate() if t.name.startswith("test-")]


def open_descriptors() -> dict[str, str]:
    """Descriptor → what it is."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the folder's own
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


def tcp() -> Network:
    """A connection over the loopback interface."""
    with socket.create_server((HOST, 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    for end in (here, there):
        end.setblocking(False)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Detached(here), Detached(there)


def unix() -> Network:
    here, there = socket.socketpair()
    for end in (here, there):
        end.setblocking(False)
    return Detached(here), Detached(there)


def tls(contexts: tuple[ssl.SSLContext, ssl.SSLContext], name: str = "localhost") -> Network:
    """A TLS connection (client, server); the handshake is made in memory, and the tickets behind it are not read."""
    sessions = []
    for context, server in zip(contexts, (False, True), strict=True):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        made = context.wrap_bio(incoming, outgoing, server_side=server, server_hostname=None if server else name)
        sessions.append(TlsSession(made, incoming, outgoing))
    client, server_ = sessions
    for _ in range(3):
        for one, other in ((client, server_), (server_, client)):
            with contextlib.suppress(ssl.SSLWantReadError):
                one.tls.do_handshake()
            other.incoming.write(one.outgoing.read())
    here, there = tcp()
    return Detached(here.sock, client), Detached(there.sock, server_)


class Cutter:
    """A network that passes ``budget`` bytes of each direction on and then breaks, in the middle of anything."""

    def __init__(self, tasks: asyncio.TaskGroup, budget: tuple[int, int], make: Callable[[], Network] = unix) -> None:
        near, self._a = make()
        self._b, far = make()
        self.network: Network = near, far
        self._tasks = [
            tasks.create_task(self._pass(self._a.sock, self._b.sock, budget[0]), name="cutter out"),
            tasks.create_task(self._pass(self._b.sock, self._a.sock, budget[1]), name="cutter back"),
        ]

    async def _pass(self, source: socket.socket, target: socket.socket, budget: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            while budget and (data := await loop.sock_recv(source, min(budget, 64 * KiB))):
                await loop.sock_sendall(target, data)
                budget -= len(data)
        except OSError:
            pass  # broken by the other direction
        finally:
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
            source.close()
            target.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what nobody announces."""
    while not condition():  # noqa: ASYNC110  # figures are there to be looked at
        await asyncio.sleep(0.002)


async def feed(guest: socket.socket, data: bytes) -> None:
    """Write ``data`` as QEMU, and then nothing more."""
    await asyncio.get_running_loop().sock_sendall(guest, data)
    guest.shutdown(socket.SHUT_WR)


async def take(guest: socket.socket, count: int) -> bytes:
    """Read ``count`` bytes as QEMU."""
    pieces = b""
    while len(pieces) < count:
        piece = await asyncio.get_running_loop().sock_recv(guest, count - len(pieces))
        assert piece, f"the end after {len(pieces)} of {count} bytes"
        pieces += piece
    return pieces


async def drain(guest: socket.socket) -> bytes:
    """Read as QEMU, until the end."""
    loop = asyncio.get_running_loop()
    pieces = []
    while piece := await loop.sock_recv(guest, 256 * KiB):
        pieces.append(piece)
    return b"".join(pieces)


async def exchange(joined: Channel, out: bytes, back: bytes) -> None:
    """Both QEMUs write and read everything; each has to read what the other wrote, and the channel to end well."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(feed(joined.a.guest, out), name="feed a")
        tasks.create_task(feed(joined.b.guest, back), name="feed b")
        at_b = tasks.create_task(drain(joined.b.guest), name="drain b")
        at_a = tasks.create_task(drain(joined.a.guest), name="drain a")
    assert at_b.result() == out
    assert at_a.result() == back
    await joined.wait()
