"""The process a guest is: what it is told by its environment, and what it may write."""

from __future__ import annotations

import os
from pathlib import Path

from culvert.drivers.qemu import log_keeper
from culvert.drivers.qemu.environment import VARIABLE
from tests.support import processes
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.virsh import virsh
from tests.support.wait import wait_for


def test_it_has_an_environment_of_its_own(folder: Path) -> None:
    root = folder / "a"
    root.mkdir()
    ours = {"CULVERT_TEST_SECRET": "secret", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    with DaemonProcess(root, environment=ours) as host, running_tiny(host, folder):
        (pid,) = host.qemu_pids()
        told = dict(
            entry.split("=", 1) for entry in Path(f"/proc/{pid}/environ").read_text().rstrip("\0").split("\0")
        )
        run = str(root / "run" / "qemu")
        assert told.pop(processes.MARK) == str(root)
        assert told.pop("LC_ALL") == "C"
        if os.geteuid() == 0:
            assert told.pop("HOME").startswith(run)
            assert told.pop("XDG_CONFIG_HOME").startswith(run)
            assert told.pop("XDG_CACHE_HOME").startswith(run)
            assert told.pop("XDG_DATA_HOME").startswith(run)
        assert VARIABLE not in told
        assert told.keys() <= {"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "CULVERT_TEST_QEMU"}


def test_what_it_says_is_bounded(host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        (pid,) = host_a.qemu_pids()
        path = host_a.root / "log" / "qemu" / f"{guest.name}.log"
        for number in range(log_keeper.BACKUPS + 2):
            # As QEMU does it, by its own descriptor.
            with open(f"/proc/{pid}/fd/2", "ab") as said:
                said.write(b"%d" % number * (3 * log_keeper.MOST))
            wait_for(lambda: path.stat().st_size == 0, "the log to be cut")
        parts = sorted(each for each in path.parent.iterdir() if each.name.startswith(path.name))
        assert [part.name.removeprefix(path.name) for part in parts] == ["", ".0", ".1", ".2"]
        assert [part.read_bytes()[-1:] for part in parts[1:]] == [b"4", b"3", b"2"]
        assert all(part.stat().st_size <= log_keeper.MOST for part in parts)
        host_a.wait_logged("its QEMU says much")
        host_a.restart()
        with open(f"/proc/{pid}/fd/2", "ab") as said:
            said.write(b"last words\n")
        os.kill(pid, 9)
        wait_for(lambda: guest.name not in virsh("list", "--name", uri=host_a.uri).expect(), "its end to be seen")
        assert path.read_text() == "last words\n"
