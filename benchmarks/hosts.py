"""Two hosts on one machine: a network namespace each, a veth pair between, a sub-reaper above every process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import tree

PREFIX = "culvert-bench-"
DEVICE = "bench0"
NEEDED = ("ip", "tc", "nsenter", "tini", "iptables", "virsh", "qemu-system-x86_64")
_NAME = re.compile(rf"{PREFIX}(\d+)-[ab]\b")
# A limited road: how much may pass at once, in seconds of its rate and at least in bytes (a segment as the kernel
# offloads it), and how long a packet waits before it is lost (tc-tbf(8)).
BURST_SECONDS, BURST_LEAST, QUEUE = 0.002, 65536, "20ms"
# How a road is broken, in both namespaces: everything is lost without a word, or every packet is answered by a reset.
BREAKS = {"drop": ["DROP"], "reset": ["REJECT", "--reject-with", "tcp-reset"]}


class LabError(Exception):
    """The two hosts cannot be made, or something on them did not do what it should."""


def command(*argv: str) -> str:
    """Run a command of the system; its output. Raises ``LabError`` with what it said."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@dataclass(slots=True)
class Host:
    """One host: ``folder`` for its files, ``address`` on the road to the other."""

    name: str
    namespace: str
    address: str
    folder: Path
    reapers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def within(self, argv: Sequence[str]) -> list[str]:
        """``argv`` as it runs in this host's network."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *argv]

    def start(self, argv: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start ``argv`` below a sub-reaper of its own, its output into ``log``; the process answered is the reaper.

        A Ctrl-C at the terminal does not reach it: whoever started it ends it.
        """
        with open(log, "ab") as output:
            reaper = subprocess.Popen(
                self.within(["tini", "-s", "--", *argv]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.reapers.append(reaper)
        return reaper

    def end(self, reaper: subprocess.Popen[bytes], *, ask: float = 0) -> None:
        """End what ``start`` began with everything below it; ``ask``: SIGTERM, and so many seconds to obey."""
        if ask and reaper.poll() is None:
            reaper.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                reaper.wait(ask)
        # Below first: what loses its reaper would be adopted by process 1 and be lost to us.
        tree.end([reaper.pid])
        reaper.kill()
        reaper.wait()
        if reaper in self.reapers:
            self.reapers.remove(reaper)

    def sent(self) -> int:
        """Bytes this host has put on the road so far, headers included."""
        found = json.loads(command("ip", "-n", self.namespace, "-j", "-s", "link", "show", "dev", DEVICE))
        return int(found[0]["stats64"]["tx"]["bytes"])


@dataclass(frozen=True, slots=True)
class Pair:
    """Both hosts; a guest moves from ``a`` to ``b``."""

    a: Host
    b: Host

    def __iter__(self) -> Iterator[Host]:
        return iter((self.a, self.b))

    def wire(self) -> int:
        """Bytes on the road so far, both directions."""
        return sum(host.sent() for host in self)

    def _rules(self, action: str, how: str) -> None:
        for host in self:
            command(*host.within(["iptables", action, "INPUT", "-i", DEVICE, "-p", "tcp", "-j", *BREAKS[how]]))

    @contextmanager
    def broken(self, how: str) -> Iterator[None]:
        """The road is broken (a word of ``BREAKS``) until the block ends."""
        self._rules("-A", how)
        try:
            yield
        finally:
            self._rules("-D", how)

    @contextmanager
    def limited(self, mbit: int) -> Iterator[None]:
        """The road takes so many Mbit/s in each direction until the block ends, headers included."""
        burst = max(round(mbit * 1e6 / 8 * BURST_SECONDS), BURST_LEAST)
        words = ("tbf", "rate", f"{mbit}mbit", "burst", str(burst), "latency", QUEUE)
        try:
            for host in self:
                command("tc", "-n", host.namespace, "qdisc", "replace", "dev", DEVICE, "root", *words)
            yield
        finally:
            for host in self:
                with contextlib.suppress(LabError):  # nothing to take back where nothing was set
                    command("tc", "-n", host.namespace, "qdisc", "delete", "dev", DEVICE, "root")


def sweep() -> None:
    """Remove the namespaces, and end what runs in them, of runs that were killed."""
    for line in command("ip", "netns", "list").splitlines():
        found = _NAME.match(line)
        if found is None or Path(f"/proc/{found.group(1)}").exists():
            continue
        _end_within(found.group(0))
        command("ip", "netns", "delete", found.group(0))


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """Two hosts with their folders below ``folder``; afterwards nothing of them is left.

    Raises ``LabError`` without the privileges or programs this takes.
    """
    if os.geteuid() != 0:
        raise LabError("the two hosts are network namespaces, and only root can make them: run this as root")
    if missing := [program for program in NEEDED if shutil.which(program) is None]:
        raise LabError(f"programs are missing: {', '.join(missing)}; packaging/debian-packages-bench.txt names them")
    sweep()
    with ExitStack() as stack:
        hosts = []
        for number, name in enumerate("ab", 1):
            host = Host(name, f"{PREFIX}{os.getpid()}-{name}", f"10.99.0.{number}", folder / name)
            host.folder.mkdir()
            command("ip", "netns", "add", host.namespace)
            stack.callback(command, "ip", "netns", "delete", host.namespace)
            stack.callback(_end_all, host)
            command("ip", "-n", host.namespace, "link", "set", "lo", "up")
            hosts.append(host)
        a, b = hosts
        command(
            *("ip", "link", "add", DEVICE, "netns", a.namespace, "type", "veth"),
            *("peer", "name", DEVICE, "netns", b.namespace),
        )
        for host in hosts:
            command("ip", "-n", host.namespace, "address", "add", f"{host.address}/24", "dev", DEVICE)
            command("ip", "-n", host.namespace, "link", "set", DEVICE, "up")
        yield Pair(a, b)


def _end_all(host: Host) -> None:
    for reaper in list(host.reapers):
        host.end(reaper)
    # A daemon that was asked to end takes its reaper along: a QEMU that it was just starting is then below nobody.
    _end_within(host.namespace)


def _end_within(namespace: str) -> None:
    for pid in command("ip", "netns", "pids", namespace).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
