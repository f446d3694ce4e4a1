"""Two culvertd that are started anew whenever they die, as a service manager does it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from benchmarks.stage import Ground
from benchmarks.stage_culvert import CulvertStage, Daemon

RESTART_SECONDS = 1
# Short, so that a cut of seconds is longer than what a connection is waited for.
SETTINGS = "[migration]\ndead_seconds = 2\nreattach_seconds = 3\n"

# The arguments: the file for the daemon's process id, and the daemon's command line.
_KEEPER = f"""
file=$1; shift
trap 'kill $pid; wait $pid; exit 0' TERM
while :; do
    "$@" & pid=$!
    echo $pid >"$file"
    wait $pid
    sleep {RESTART_SECONDS}
done
"""


def keeper(file: Path) -> list[str]:
    """The words before a command line that keep its process running, its id in ``file``; SIGTERM ends both."""
    return ["bash", "-c", _KEEPER, "keeper", str(file)]


class KeptStage(CulvertStage):
    """As ``CulvertStage``, beside which it may live; ``kill`` a daemon and it comes back, the QEMUs still there."""

    ports = (16609, 16614)

    def __init__(self, ground: Ground) -> None:
        self._files: dict[str, Path] = {host.name: host.folder / "culvertd.pid" for host in ground.pair}
        super().__init__(ground)

    def start(self) -> list[Daemon]:
        """A daemon on each host, below its keeper."""
        return [
            Daemon(host, self.ground, self.ports, SETTINGS, keeper(self._files[host.name]))
            for host in self.ground.pair
        ]

    def kill(self, host: str) -> None:
        """Kill the daemon of this host without a warning."""
        os.kill(int(self._files[host].read_text(encoding="ascii")), signal.SIGKILL)
