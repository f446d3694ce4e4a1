"""``python -m generations.bare FIRST SECOND``: post-copies between two QEMUs alone, no daemon, no tunnel.

What a pair's failure is held against: whether the QEMUs do it by themselves. The generations must have been made by
``make generations`` before.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from generations import enter, roots
from generations.__main__ import PLACE
from generations.plan import KINDS, PAIRED
from guests import domain_xml, watch
from guests.report import GuestFault
from tests.support.daemon import remove_folder, short_folder
from tests.support.guest import SMALL
from tests.support.wait import wait_for

WAITS = 60.0  # seconds for each step
BANDWIDTH = 8 << 20  # bytes a second: the second round is then still under way when it is switched
CAPABILITIES = ("postcopy-ram", "return-path", "events")
SWITCHED = ("postcopy-active", "postcopy-device", "completed")  # a small guest's rest may arrive between two looks


class Monitor:
    """QEMU's monitor at the socket ``path``, asked for one thing after the other."""

    def __init__(self, path: Path) -> None:
        wait_for(path.exists, f"{path} is there", WAITS)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(WAITS)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        self._lines.readline()
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: object) -> Any:
        """The answer. Raises ``AssertionError`` for an error."""
        self._lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._lines.flush()
        while True:
            said = json.loads(self._lines.readline())
            assert "error" not in said, f"{command}: {said['error']}"
            if "return" in said:
                return said["return"]

    def migration(self) -> dict[str, Any]:
        """What is known of the migration."""
        found: dict[str, Any] = self("query-migrate")
        return found


Start = Callable[[str, str, list[str]], Monitor]


def main() -> int:
    """0 when every guest has arrived whole, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m generations.bare", description=__doc__)
    parser.add_argument("first", choices=PAIRED)
    parser.add_argument("second", choices=PAIRED)
    parser.add_argument("--times", type=int, default=20, help="how often (%(default)s)")
    parser.add_argument("--spared", type=int, default=domain_xml.SPARED_KIB, help="KiB over whole MiB (%(default)s)")
    parser.add_argument("--root", "-r", action="append", default=[], metavar="KEY=DIR", help="as of make generations")
    words = parser.parse_args()
    given = dict(each.split("=", 1) for each in words.root)
    bad = 0
    for number in range(1, words.times + 1):
        said = once(words.first, words.second, SMALL.memory_mib * 1024 + words.spared, given)
        bad += bool(said)
        print(f"[{number}/{words.times}] {words.first} → {words.second}: {said or 'whole'}", flush=True)
    print(f"{words.times} post-copies, {bad} in which the guest did not arrive whole")
    return int(bool(bad))


def once(first: str, second: str, kib: int, given: dict[str, str]) -> str:
    """One of them: what was wrong with the guest afterwards, '' for nothing."""
    folder = short_folder()
    processes: list[subprocess.Popen[bytes]] = []
    guest = domain_xml.tiny_guest(folder, "guest", SMALL, command_port=False)

    def start(key: str, name: str, more: list[str]) -> Monitor:
        root = Path(given[key]) if key in given else PLACE / key / "root"
        words = enter.words(None if key == roots.machine_generation() else root, [folder])
        argv = [
            *("qemu-system-x86_64", "-machine", f"{KINDS['q35']},memory-backend=pc.ram", "-accel", "tcg", "-S"),
            *("-m", f"{kib}k", "-object", f"memory-backend-ram,id=pc.ram,size={kib * 1024}", "-display", "none"),
            *("-nodefaults", "-no-user-config", "-kernel", str(guest.domain.kernel)),
            *("-chardev", f"file,id=serial,path={guest.serial},append=on", "-serial", "chardev:serial"),
            *("-qmp", f"unix:{folder / name},server=on,wait=off"),
        ]
        processes.append(subprocess.Popen([*words, *argv, *more], env=enter.environment(), stdin=subprocess.DEVNULL))
        return Monitor(folder / name)

    try:
        with watch.SerialWatch(guest.serial) as follow:
            _move(start(first, "source", []), start(second, "destination", ["-incoming", "defer"]), folder, follow)
            follow.wait_verified()
    except GuestFault as err:
        return str(err)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        remove_folder(folder)
    return ""


def _move(source: Monitor, destination: Monitor, folder: Path, follow: watch.SerialWatch) -> None:
    for each in (source, destination):
        each("migrate-set-capabilities", capabilities=[{"capability": name, "state": True} for name in CAPABILITIES])
    source("cont")
    follow.wait_running()
    follow.wait_verified()
    where = f"unix:{folder / 'road'}"
    destination("migrate-incoming", uri=where)
    source("migrate-set-parameters", **{"max-bandwidth": BANDWIDTH, "downtime-limit": 1})
    source("migrate", uri=where)
    wait_for(lambda: source.migration().get("ram", {}).get("dirty-sync-count", 0) > 1, "a second round", WAITS)
    source("migrate-start-postcopy")
    wait_for(lambda: destination.migration().get("status") in SWITCHED, "it has switched", WAITS)
    while destination("query-status")["status"] == "inmigrate":
        time.sleep(0.005)
    destination("cont")
    wait_for(lambda: source.migration()["status"] == "completed", "everything has arrived", WAITS)


if __name__ == "__main__":
    sys.exit(main())
