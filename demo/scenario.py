"""The demonstration's steps: two daemons, a guest, there and back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from demo import figures
from guests import domain_xml, linux, watch
from tests.support import processes
from tests.support.daemon import DaemonProcess, remove_folder, short_folder
from tests.support.virsh import ENVIRONMENT, VIRSH, virsh

NAME = "demo"
MIGRATION_DEADLINE = 300  # seconds


class DemoFailed(Exception):
    """A step did not do what it should; the text says which and shows what there is to see."""


def say(text: str) -> None:
    """One line of the story."""
    print(f"==> {text}", flush=True)


def _client(client: str, source: DaemonProcess, destination: DaemonProcess) -> Sequence[str]:
    commands = {
        "virsh": [
            *(VIRSH, "-c", source.uri, "migrate", "--live", "--p2p", "--tunnelled", "--verbose"),
            *(NAME, destination.tcp_uri),
        ],
        "culvert": [
            *(sys.executable, "-m", "culvert.cli.main", "-c", source.uri),
            *("migrate", NAME, destination.tcp_uri),
        ],
    }
    return commands[client]


def _sent(hosts: Sequence[DaemonProcess]) -> int:
    """Bytes of the migration that has just ended, as whichever daemon remembers the job tells them."""
    for host in hosts:
        result = virsh("domjobinfo", NAME, "--completed", "--rawstats", uri=host.uri)
        sent = figures.data_processed(result.out) if result.ok else None
        if sent is not None:
            return sent
    raise DemoFailed("no daemon tells how many bytes the migration has sent (domjobinfo --completed)")


class Demo:
    """Runs the steps; everything lives in one temporary folder and ends with the ``with`` block."""

    def __init__(self, parameters: linux.LinuxParameters, machine: str) -> None:
        self._parameters = parameters
        self._machine = machine
        self._stack = ExitStack()
        self._folder = Path()

    def __enter__(self) -> Demo:
        self._folder = short_folder()
        self._stack.callback(remove_folder, self._folder)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def run(self) -> figures.Outcome:
        """All of it. Raises ``DemoFailed``, or ``guests.report.GuestFault`` when the guest shows a fault."""
        say("building the guest: Debian's kernel, an init of our own")
        guest = domain_xml.linux_guest(self._folder, NAME, self._parameters, machine=self._machine)
        a, b = self._daemon("a"), self._daemon("b")
        say(f"booting '{NAME}' on a ({self._parameters.memory_mib} MiB, {self._machine}, TCG)")
        follow = self._stack.enter_context(watch.SerialWatch(guest.serial))
        virsh("create", str(guest.write_xml()), uri=a.uri).expect()
        follow.wait_running(timeout=120)
        first = follow.reports[0]
        say(
            f"the guest counts ({self._parameters.hz} lines a second) and rewrites {self._parameters.dirty_mib} of "
            f"its {self._parameters.mib} MiB at {self._parameters.dirty_mib_s:g} MiB/s"
        )
        trips = [self._trip("virsh", a, b, follow), self._trip("culvert", b, a, follow)]
        follow.check()
        last = follow.reports[-1]
        self._end(a, b)
        return figures.Outcome(trips, first.count, last.count, last.passes, self._parameters.pages)

    def _daemon(self, name: str) -> DaemonProcess:
        root = self._folder / name
        root.mkdir()
        daemon = self._stack.enter_context(DaemonProcess(root, name=name, guarded=False))
        say(f"culvertd {name}: {daemon.tcp_uri}")
        return daemon

    def _trip(
        self, client: str, source: DaemonProcess, destination: DaemonProcess, follow: watch.SerialWatch
    ) -> figures.Trip:
        argv = _client(client, source, destination)
        say(f"{source.name} → {destination.name}: {' '.join(argv)}")
        follow.wait_running()
        cpu = -self._cpu(source, destination)
        start = time.monotonic()
        try:
            code = subprocess.run(argv, env=ENVIRONMENT, timeout=MIGRATION_DEADLINE, check=False).returncode
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"{client} had not ended after {MIGRATION_DEADLINE} s{self._logs()}") from None
        end = time.monotonic()
        if code:
            raise DemoFailed(f"{client} ended with exit code {code}{self._logs()}")
        cpu += self._cpu(source, destination)
        state = virsh("domstate", NAME, uri=destination.uri).expect().strip()
        if state != "running":
            raise DemoFailed(f"'{NAME}' is {state} on {destination.name}{self._logs()}")
        follow.wait_running()
        downtime = follow.longest_silence(since=start).seconds
        sent = _sent([destination, source])
        say(f"'{NAME}' runs on {destination.name}; verifying all of its memory from inside")
        follow.wait_verified()
        source.wait_no_qemu()
        return figures.Trip(
            client,
            source.name,
            destination.name,
            round(end - start, 3),
            round(downtime * 1000, 1),
            sent,
            round(cpu, 3),
        )

    def _cpu(self, *daemons: DaemonProcess) -> float:
        return sum(processes.cpu_seconds(daemon.pid) for daemon in daemons)

    def _end(self, *daemons: DaemonProcess) -> None:
        say("ending the guest and the daemons; looking whether anything is left")
        virsh("destroy", NAME, uri=daemons[0].uri).expect()
        for daemon in daemons:
            daemon.assert_no_leftovers()
            if code := daemon.stop():
                raise DemoFailed(f"culvertd {daemon.name} ended with exit code {code}\n{daemon.log_tail()}")
            if left := processes.marked(daemon.root):
                raise DemoFailed(f"culvertd {daemon.name} left processes behind: {left}")

    def _logs(self) -> str:
        paths = sorted([*self._folder.glob("*.log"), *self._folder.glob("*/log/qemu/*.log")])
        return "".join(f"\n--- {path.name}\n{path.read_text('utf-8', 'replace')[-4000:]}" for path in paths)
