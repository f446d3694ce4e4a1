"""A QEMU whose monitor can be held at a moment of its start, so that something happens at that very moment.

``Held`` writes a program to be named as a domain's ``<emulator>``. It becomes QEMU, the process that the daemon has
started, and leaves a relay between the daemon and QEMU's monitor. A file in the folder arms a moment, as
``culvert.io.fault_points`` does it: the relay answers with another one and waits until the first is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from tests.support.wait import wait_for

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "CULVERT_TEST_QEMU"
QEMU = os.environ.get(VARIABLE, "/usr/bin/qemu-system-x86_64")
GREETING = "greeting"  # QEMU has been started, and has not greeted on its monitor
ANSWER = ".answer"  # behind a command: QEMU has carried it out, and its answer has not come
REACHED = ".reached"
POLL = 0.01  # seconds between two looks
PIECE = 1 << 16  # bytes read at once


class Held:
    """The emulator at ``program``, held where ``at`` says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "held"
        self._folder.mkdir()
        self.program = self._folder / "qemu"
        self.program.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from tests.support import held\nheld.run({str(self._folder)!r})\n"
        )
        self.program.chmod(0o755)

    @contextlib.contextmanager
    def at(self, moment: str) -> Iterator[None]:
        """Inside, a start that is under way stands at ``moment``; on leaving it goes on.

        ``moment`` is GREETING, the name of a QMP command, which QEMU then has not seen, or that name and ANSWER.
        Raises ``AssertionError`` when nothing comes there.
        """
        armed = self._folder / moment
        reached = armed.with_name(moment + REACHED)
        armed.touch()
        try:
            wait_for(reached.exists, f"a start that stands at {moment}")
            yield
        finally:
            armed.unlink()
            reached.unlink(missing_ok=True)


# ---- inside the emulator -------------------------------------------------------------------------------------------


def run(folder: str) -> NoReturn:
    """Become QEMU, and leave the relay as its child."""
    words = sys.argv[1:]
    places = [number for number, word in enumerate(words) if "id=charmonitor,fd=" in word]
    if not places:
        os.execv(QEMU, [QEMU, *words])  # no guest: it is asked what it can do
    [place] = places
    fd = words[place].partition("fd=")[2].partition(",")[0]
    behind = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    path = f"{folder}/{os.getpid()}.sock"
    behind.bind(path)
    behind.listen(1)
    qemu = os.pidfd_open(os.getpid())
    if os.fork() == 0:
        behind.close()
        with contextlib.suppress(_Ended):
            _Relay(Path(folder), qemu, path).serve(socket.socket(fileno=int(fd)))
        os._exit(0)
    os.set_inheritable(behind.fileno(), True)
    words[place] = words[place].replace(f"fd={fd}", f"fd={behind.fileno()}")
    os.close(int(fd))
    os.execv(QEMU, [QEMU, *words])


class _Gone(Exception):
    """The daemon has closed its connection."""


class _Ended(Exception):
    """QEMU has ended."""


class _Relay:
    """Between the daemon, which connects, and the QEMU of the pidfd ``qemu``, which listens at ``path``."""

    def __init__(self, folder: Path, qemu: int, path: str) -> None:
        self._folder = folder
        self._qemu = qemu
        self._path = path

    def serve(self, listener: socket.socket) -> None:
        """One connection after the other, until QEMU ends."""
        while True:
            self._ready(listener)
            daemon, _ = listener.accept()
            with daemon, socket.socket(socket.AF_UNIX) as qemu, contextlib.suppress(_Gone):
                self._hold(GREETING, daemon)
                qemu.connect(self._path)
                self._pass_on(daemon, qemu)

    def _pass_on(self, daemon: socket.socket, qemu: socket.socket) -> None:
        names: dict[object, str] = {}  # of the commands that are not answered, by their id
        asked = answered = b""
        while True:
            ready = self._ready(daemon, qemu)
            if qemu in ready:
                answered += _read(qemu)
                *lines, answered = answered.split(b"\n")
                for line in lines:
                    name = names.pop(json.loads(line).get("id"), None)
                    if name is not None:
                        self._hold(name + ANSWER, daemon)
                    daemon.sendall(line + b"\n")
            if daemon in ready:
                asked += _read(daemon)
                with contextlib.suppress(json.JSONDecodeError):  # the rest of it is to come
                    while asked:  # nothing separates commands
                        command, end = json.JSONDecoder().raw_decode(asked.decode())
                        name = names[command.get("id")] = command["execute"]
                        self._hold(name, daemon)
                        qemu.sendall(asked[:end])
                        asked = asked[end:].lstrip()

    def _hold(self, moment: str, daemon: socket.socket) -> None:
        """Stand here for as long as ``moment`` is armed. Raises ``_Gone`` and ``_Ended``."""
        armed = self._folder / moment
        while armed.exists():
            armed.with_name(moment + REACHED).touch()
            if self._ready(daemon, seconds=POLL) and not daemon.recv(1, socket.MSG_PEEK):
                raise _Gone

    def _ready(self, *sockets: socket.socket, seconds: float | None = None) -> list[socket.socket]:
        """Those that can be read, once one can. Raises ``_Ended``."""
        every: list[socket.socket | int] = [*sockets, self._qemu]
        ready = select.select(every, [], [], seconds)[0]
        if self._qemu in ready:
            raise _Ended
        return [sock for sock in sockets if sock in ready]


def _read(sock: socket.socket) -> bytes:
    try:
        data = sock.recv(PIECE)
    except ConnectionResetError:
        data = b""
    if not data:
        raise _Gone
    return data
