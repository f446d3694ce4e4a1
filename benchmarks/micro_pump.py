"""``python -m benchmarks.micro_pump``: what the pump route costs without QEMU, threads against processes; JSON.

::

    writer ──socket pair──▶ daemon A: pump ──TCP, loopback──▶ daemon B: pump ──socket pair──▶ reader

Writers and readers stand for QEMU, in processes of their own; each daemon is one process, which runs a worker per
channel in a thread (as culvert does) or in a child process of its own. The bytes are incompressible. CPU seconds are
those of both daemons and what they started, user and kernel, per GiB moved.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TypeVarTuple

from culvert.ground import errors
from culvert.ground.units import GiB, KiB, MiB
from culvert.io.detached import Detached, TlsSession
from culvert.io.tls_context import client_context, server_context
from culvert.tunnel import relay
from culvert.tunnel.limits import ChannelLimits
from culvert.tunnel.pump import Pump
from culvert.tunnel.qemu_end import QemuEnd
from culvert.tunnel.statistics import PumpStatistics
from culvert.tunnel.window import IncomingWindow, OutgoingWindow
from culvert.tunnel.worker import Worker
from tests.support.pki import Pki

_HOST = "127.0.0.1"
_TIME = 300.0
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class Case:
    workers: str
    security: str
    channels: int
    piece_kib: int  # of the writer
    gap_us: int  # in which the writer works on its next piece


class Quiet:
    """Nobody listens to a worker in a child process."""

    def lost(self, error: errors.ConnectionLost) -> None:
        raise error

    def over(self, error: Exception | None) -> None:
        if error is not None:
            raise error

    def ended(self) -> None:
        pass


def child(work: Callable[[*Ts], None], *args: *Ts) -> int:
    """Run ``work`` in a process of its own: its pid."""
    if pid := os.fork():
        return pid
    try:
        work(*args)
        os._exit(0)
    except BaseException as err:
        sys.stderr.write(f"{err!r}\n")
        os._exit(1)


def alone(everything: list[socket.socket], kept: list[socket.socket], work: Callable[[], None]) -> None:
    """``work`` with these sockets and no others, so that an end is seen where one is closed."""
    for sock in everything:
        if sock not in kept:
            sock.close()
    work()


def write(sock: socket.socket, total: int, case: Case) -> None:
    block, gap = memoryview(os.urandom(case.piece_kib * KiB)), case.gap_us * 1e-6
    while total:
        total -= sock.send(block[:total])
        until = time.perf_counter() + gap
        while gap and time.perf_counter() < until:
            pass
    sock.close()


def read(sock: socket.socket, total: int) -> None:
    buffer = bytearray(1 * MiB)
    while count := sock.recv_into(buffer):
        total -= count
    if total:
        raise EOFError(f"{total} bytes are missing")


def secured(sock: socket.socket, context: ssl.SSLContext, *, server: bool) -> Detached:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=server, server_hostname=None if server else "localhost")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(64 * KiB))
    sock.sendall(outgoing.read())
    sock.setblocking(False)
    return Detached(sock, TlsSession(tls, incoming, outgoing))


def process(qemu: socket.socket, connection: Detached) -> None:
    """One channel, by a worker that is the whole process."""
    limits, figures = ChannelLimits(), PumpStatistics()
    windows = OutgoingWindow(limits.window), IncomingWindow(limits.inbound)
    end = QemuEnd(qemu, *windows, figures)
    worker = Worker("channel", end, windows, limits=limits, compression="off", statistics=figures, tell=Quiet())
    worker.inbox.post(lambda: worker.attach(connection, 0))
    worker.run()


async def threads(channels: list[tuple[socket.socket, Detached]]) -> None:
    """All channels as culvert moves them."""
    pumps = [Pump(f"channel {n}", qemu, on_lost=print) for n, (qemu, _) in enumerate(channels)]
    for pump, (_, connection) in zip(pumps, channels, strict=True):
        pump.start()
        await pump.attach(connection, 0)
    async with asyncio.timeout(_TIME):
        for pump in pumps:
            await pump.wait()
            await pump.closed()


def daemon(workers: str, channels: list[tuple[socket.socket, Detached]], report: int) -> None:
    if workers == "threads":
        asyncio.run(threads(channels))
    else:
        pids = [child(process, qemu, connection) for qemu, connection in channels]
        for pid in pids:
            finished(pid)
    own, below = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    os.write(report, json.dumps([own.ru_utime + below.ru_utime, own.ru_stime + below.ru_stime]).encode())


def finished(pid: int) -> None:
    if status := os.waitpid(pid, 0)[1]:
        raise ChildProcessError(f"a process failed with status {status}")


def connections(security: str, pki: Path) -> tuple[Detached, Detached]:
    """A connection over the loopback interface: (A's end, B's end)."""
    with socket.create_server((_HOST, 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    for end in (ours, theirs):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.setblocking(security == "tls")
    if security == "plain":
        return Detached(ours), Detached(theirs)
    holder = Pki(pki).holder("host")
    with ThreadPoolExecutor(1) as pool:
        server = pool.submit(secured, theirs, server_context(holder.server), server=True)
        return secured(ours, client_context(holder.client), server=False), server.result()


def measure(case: Case, total: int, pki: Path) -> tuple[float, float, float]:
    """Wall seconds, user and system seconds of both daemons for ``total`` bytes over all channels."""
    each = total // case.channels
    here, there, writers, readers = [], [], [], []
    for _ in range(case.channels):
        near, far = connections(case.security, pki)
        ours, writer = relay.channel()
        theirs, reader = relay.channel()
        for end in (writer, reader):
            end.setblocking(True)
        here.append((ours, near))
        there.append((theirs, far))
        writers.append(writer)
        readers.append(reader)
    everything = (
        [end for end, _ in here + there] + [connection.sock for _, connection in here + there] + writers + readers
    )

    began = time.monotonic()
    reports = [os.pipe(), os.pipe()]
    pids = []
    for side, report in ((here, reports[0]), (there, reports[1])):
        mine = [end for end, _ in side] + [connection.sock for _, connection in side]
        pids.append(child(alone, everything, mine, partial(daemon, case.workers, side, report[1])))
    pids += [child(alone, everything, [reader], partial(read, reader, each)) for reader in readers]
    pids += [child(alone, everything, [writer], partial(write, writer, each, case)) for writer in writers]
    for end in everything:
        end.close()
    for pid in pids:
        finished(pid)
    wall = time.monotonic() - began
    user = system = 0.0
    for reading, writing in reports:
        os.close(writing)
        with open(reading, "rb") as file:
            one, two = json.load(file)
        user, system = user + one, system + two
    return wall, user, system


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m benchmarks.micro_pump", description=__doc__)
    words.add_argument("--gib", type=float, default=2.0, help="moved in each run (%(default)s)")
    words.add_argument("--repeats", type=int, default=5)
    words.add_argument("--workers", nargs="*", default=["threads", "processes"])
    words.add_argument("--security", nargs="*", default=["plain", "tls"])
    words.add_argument("--channels", nargs="*", type=int, default=[1, 2])
    words.add_argument("--pieces", nargs="*", type=int, default=[32, 1024], help="KiB that the writer writes at once")
    words.add_argument("--gaps", nargs="*", type=int, default=[0], help="µs that the writer needs for each of them")
    options = words.parse_args()
    total = int(options.gib * GiB)
    results = []
    cases = [
        Case(*of) for of in product(options.workers, options.security, options.channels, options.pieces, options.gaps)
    ]
    for case in cases:
        runs = []
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(measure(case, total, Path(folder)))
        gib = total / GiB
        cpu = [(user + system) / gib for _, user, system in runs]
        result = {
            **asdict(case),
            "gib_per_second": round(statistics.median(gib / wall for wall, _, _ in runs), 3),
            "cpu_seconds_per_gib": round(statistics.median(cpu), 3),
            "user_seconds_per_gib": round(statistics.median(user / gib for _, user, _ in runs), 3),
            "cpu_spread": [round(min(cpu), 3), round(max(cpu), 3)],
        }
        results.append(result)
        sys.stderr.write(json.dumps(result) + "\n")
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    sys.stdout.write(json.dumps({"machine": machine, "openssl": ssl.OPENSSL_VERSION, "results": results}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
