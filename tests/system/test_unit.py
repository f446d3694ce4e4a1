"""The daemon below its systemd unit: the part of systemd is played here, by what the unit says."""

from __future__ import annotations

import os
import shlex
import signal
import socket
from pathlib import Path

from tests.support import processes, unit
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny


def told(manager: socket.socket) -> tuple[bytes, int]:
    """The next thing that the service manager is told, and by which process."""
    data, control, _, _ = manager.recvmsg(1000, socket.CMSG_SPACE(12))
    [(_, _, credentials)] = control
    return data, int.from_bytes(credentials[:4], "little")


def victims(mode: str, main: int, everybody: list[int]) -> list[int]:
    """Whom systemd sends SIGTERM when it stops a unit with this KillMode= (systemd.kill(5))."""
    return {"process": [main], "mixed": [main], "control-group": [main, *everybody], "none": []}[mode]


def test_started_reloaded_and_stopped_as_systemd_does_it(folder: Path) -> None:
    """Ready when it says so itself; a reload does not end it; stopped, it ends, and the guests run on."""
    service = unit.read()["Service"]
    root = folder / "a"
    root.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        manager.settimeout(30)
        with DaemonProcess(root, environment={"NOTIFY_SOCKET": str(folder / "notify")}) as daemon:
            assert service["Type"] == "notify"
            assert service["NotifyAccess"] == "main"  # what other processes of the unit say is not heard
            assert told(manager) == (b"READY=1", daemon.pid)
            with running_tiny(daemon, folder) as guest:
                kill, name, whom = shlex.split(service["ExecReload"])
                assert (kill, whom) == ("/bin/kill", "$MAINPID")
                os.kill(daemon.pid, signal.Signals["SIG" + name.removeprefix("-")])
                guest.assert_runs_only_on(daemon)
                daemon.wait_logged("nothing to reload")  # for want of a TLS listener
                (qemu,) = daemon.qemu_pids()
                for pid in victims(service["KillMode"], daemon.pid, [qemu]):
                    os.kill(pid, signal.SIGTERM)
                assert told(manager) == (b"STOPPING=1", daemon.pid)
                assert daemon.process is not None
                assert daemon.process.wait(30) == 0
                # The rest of the unit gets SIGKILL then, but where only the process itself is to be ended.
                assert service["KillMode"] != "mixed"
                guest.watch.wait_verified()
                assert processes.state(qemu) not in ("X", "Z")
                daemon.start()
                assert told(manager) == (b"READY=1", daemon.pid)
                guest.assert_runs_only_on(daemon)
                assert daemon.qemu_pids() == [qemu]
