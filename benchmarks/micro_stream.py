"""The other two routes without QEMU: ``stream`` through two event loops, ``direct`` through the kernel alone.

::

    stream   writer ──socket pair──▶ process A: relay, RPC stream ──TCP, loopback──▶ process B ──socket pair──▶ reader
    direct   writer ──TCP, loopback──▶ reader

Writer and reader stand for QEMU, each a process of its own; so are A and B. The bytes are incompressible.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import socket
import time
from collections.abc import Callable

from benchmarks.hosts import LabError
from benchmarks.lab import Lab
from culvert.io.listener import listen_tcp
from culvert.protocol.procedure import Procedure, Program, StreamDirection
from culvert.rpc import programs
from culvert.rpc.answer import StreamBody
from culvert.rpc.client import connect
from culvert.rpc.dispatch import Handlers
from culvert.rpc.server import Server
from culvert.rpc.session import Session
from culvert.rpc.stream import Stream
from culvert.tunnel import relay
from culvert.xdr.struct import Void

ROUTES = ("stream", "direct")
TOTAL = 2 << 30  # bytes
PIECE = 32 << 10  # what QEMU writes at once
SECONDS = 120.0

CARRY = Procedure(1, "CARRY", Void, Void, stream=StreamDirection.WRITE, before_auth=True, before_open=True)
PROGRAM = Program("BENCH", 0x7BE7C4, 1, [CARRY])
_processes = multiprocessing.get_context("fork")


def measure(_: Lab, route: str) -> dict[str, float]:
    """Move two GiB by one of ``ROUTES``. Raises ``LabError`` when a process failed."""
    return {"stream": _stream, "direct": _direct}[route]()


def _direct() -> dict[str, float]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        writer = socket.create_connection(listener.getsockname())
        reader, _ = listener.accept()
    with writer, reader:
        wall = _run([lambda: _write(writer), lambda: _read(reader)], [writer, reader])
    return _figures(wall, 0.0)


def _stream() -> dict[str, float]:
    ports, taken = _processes.SimpleQueue(), _processes.SimpleQueue()
    ours, writer = relay.channel()
    theirs, reader = relay.channel()
    for end in (writer, reader):
        end.setblocking(True)
    with ours, writer, theirs, reader:
        daemons: list[Callable[[], object]] = [
            lambda: _accounted(lambda: asyncio.run(_destination(theirs, ports.put)), taken.put),
            lambda: _accounted(lambda: asyncio.run(_source(ours, ports.get())), taken.put),
        ]
        wall = _run([*daemons, lambda: _write(writer), lambda: _read(reader)], [theirs, ours, writer, reader])
    return _figures(wall, taken.get() + taken.get())


def _figures(wall: float, cpu: float) -> dict[str, float]:
    return {"mib_s": TOTAL / (1 << 20) / wall, "cpu_s_per_gib": cpu / (TOTAL / (1 << 30))}


def _run(works: list[Callable[[], object]], ends: list[socket.socket]) -> float:
    """Run each of ``works`` in a process that keeps open the socket of the same place only; seconds until all end."""

    def alone(number: int) -> None:
        for other, end in enumerate(ends):
            if other != number:
                end.close()
        works[number]()

    processes = [_processes.Process(target=alone, args=(number,), daemon=True) for number in range(len(works))]
    begun = time.monotonic()
    for process in processes:
        process.start()
    for end in ends:
        end.close()
    for process in processes:
        process.join(max(0.0, begun + SECONDS - time.monotonic()))
    wall = time.monotonic() - begun
    failed = [process.exitcode for process in processes if process.exitcode != 0]
    for process in processes:
        process.kill()
    if failed:
        raise LabError(f"moving bytes without QEMU: processes ended with {failed}")
    return wall


def _accounted(work: Callable[[], object], tell: Callable[[float], object]) -> None:
    work()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    tell(usage.ru_utime + usage.ru_stime)


def _write(sock: socket.socket) -> None:
    block, left = memoryview(os.urandom(PIECE)), TOTAL
    while left:
        left -= sock.send(block[:left])
    sock.close()


def _read(sock: socket.socket) -> None:
    buffer, left = bytearray(1 << 20), TOTAL
    while count := sock.recv_into(buffer):
        left -= count
    if left:
        raise EOFError(f"{left} bytes are missing")


async def _source(ours: socket.socket, port: int) -> None:
    async with (
        asyncio.timeout(SECONDS),
        connect(f"qemu+tcp://127.0.0.1:{port}/system", programs=[*programs.KNOWN, PROGRAM]) as client,
    ):
        _, stream = await client.open_stream(CARRY, Void())
        await relay.outward(ours, stream, relay.Meter())
        await stream.finish()


async def _destination(theirs: socket.socket, tell: Callable[[int], object]) -> None:
    arrived = asyncio.Event()
    handlers = Handlers(PROGRAM)

    async def carry(session: Session, args: Void) -> tuple[Void, StreamBody]:
        async def body(stream: Stream) -> None:
            await relay.inward(stream, theirs, relay.Meter())
            arrived.set()

        return args, body

    handlers.add_stream(CARRY, carry)
    async with asyncio.timeout(SECONDS), Server([handlers]) as server:
        (listener,) = await listen_tcp("127.0.0.1", 0)
        server.listen(listener)
        assert listener.address is not None
        tell(listener.address[1])
        await arrived.wait()
