"""Networks of their own on this machine: namespaces, joined by pairs of devices."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

NEEDS = "a network of its own needs root, and the packages iproute2 and nftables"


def possible() -> bool:
    """Whether this machine and this user can have one."""
    return os.geteuid() == 0 and all(shutil.which(program) for program in ("ip", "nft", "nsenter"))


class NetworkNamespace:
    """A network of its own, empty but for the loopback device. A context manager: it goes at the end."""

    def __init__(self) -> None:
        self.name = f"culvert-test-{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> Self:
        _command("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _command("ip", "netns", "delete", self.name)

    @property
    def within(self) -> list[str]:
        """The words that run a program in it."""
        return ["nsenter", f"--net=/run/netns/{self.name}", "--"]

    def run(self, *argv: str, check: bool = True) -> str:
        """What ``argv`` prints there. Raises ``AssertionError`` when it fails."""
        return _command(*self.within, *argv, check=check)

    def devices(self) -> set[str]:
        """The names of its network devices."""
        return {line.split(":")[0].strip() for line in self.run("cat", "/proc/net/dev").splitlines()[2:]}

    def rules(self) -> str:
        """All that ``nft`` has there."""
        return self.run("nft", "list", "ruleset")

    def join(self, other: NetworkNamespace, ours: str, theirs: str) -> None:
        """A pair of devices between the two, both switched on."""
        self.run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", other.name)
        self.run("ip", "link", "set", ours, "up")
        other.run("ip", "link", "set", theirs, "up")

    def lease(self, device: str, *options: str) -> str:
        """Ask for an address on ``device`` by DHCP, and take it. The address."""
        said = self.run(*_udhcpc(device, options))
        found = next(line for line in said.splitlines() if line.startswith("bound "))
        address = found.split()[1]
        self.run("ip", "address", "add", f"{address}/24", "dev", device)
        return address


SCRIPT = Path(__file__).with_name("udhcpc-says")


def _udhcpc(device: str, options: Sequence[str]) -> list[str]:
    return ["busybox", "udhcpc", "-i", device, "-n", "-q", "-f", "-t", "20", "-T", "1", "-s", str(SCRIPT), *options]


def _command(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 or not check, f"{' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout
