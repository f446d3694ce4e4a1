"""A real ``culvertd`` of its own root: started, stopped, killed, restarted, looked into."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from culvert.daemon import loop_guard
from culvert.drivers.qemu import environment as qemu_environment
from tests.support import held, processes
from tests.support.wait import wait_for

_READY = re.compile(r"^culvertd ready\b.*?listen=(tcp://\S+)(?:.*?listen=(tls://\S+))?", re.MULTILINE)
MOST_HELD = 0.1  # seconds
LOG_TAIL = 6000  # characters of log that a failure shows
CHECKOUT = (sys.executable, "-m", "culvert.daemon.main")  # the daemon of this checkout


class DaemonFailed(Exception):
    """The daemon did not start or did not stop; the text ends with its log."""


class DaemonProcess:
    """One daemon, ``root`` its folder, ``name`` for people.

    Afterwards ``uri`` (UNIX socket) and ``tcp_uri`` (as the other daemon reaches it) connect to it, with ``tls`` also
    ``tls_uri()``. ``program``: the words that are the daemon, ``within``: words that run them. A restart keeps the
    ports. Everything it starts is marked with ``root`` (``processes.MARK``). ``guarded``: a callback that has held
    its event loop for more than ``MOST_HELD`` seconds is an error at the end of the block.
    """

    def __init__(
        self,
        root: Path,
        *,
        name: str = "host",
        config: str = "",
        arguments: Sequence[str] = (),
        tls: bool = False,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
        program: Sequence[str] = CHECKOUT,
        guarded: bool = True,
    ) -> None:
        self.root = root
        self.name = name
        self.port = 0
        self.tls_port = 0
        self._tls = tls
        self.process: subprocess.Popen[bytes] | None = None
        self._arguments = list(arguments)
        self._within = list(within)
        self._program = list(program)
        self._guarded = guarded
        self._environment = dict(environment or {})
        self._output = root.with_name(f"{root.name}.{name}.out")
        self._log = root.with_name(f"{root.name}.{name}.log")
        if program is CHECKOUT:
            config = _with_emulators(config, root.parent)
        if config:
            path = root / "etc" / "culvertd.toml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(config, encoding="utf-8")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clean_up()
        if error is None:
            self.assert_never_held()

    # ---- life ----------------------------------------------------------------------------------------------------

    def start(self, timeout: float = 30) -> None:
        """Start it and wait until it is ready. Raises ``DaemonFailed``."""
        assert not self.running, f"{self.name} is running already"
        listen = ["--listen", f"tcp://127.0.0.1:{self.port}"]
        if self._tls:
            listen += ["--listen", f"tls://127.0.0.1:{self.tls_port}"]
        argv = [*self._within, *self._program, "--root", str(self.root), *listen, *self._arguments]
        variables = {
            **os.environ,
            **({loop_guard.VARIABLE: str(MOST_HELD)} if self._guarded else {}),
            **self._environment,
            processes.MARK: str(self.root),
            qemu_environment.VARIABLE: f"{processes.MARK} {held.VARIABLE}",
            "PYTHONUNBUFFERED": "1",
        }
        with open(self._output, "wb") as output, open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=log, env=variables, start_new_session=True
            )
        deadline = time.monotonic() + timeout
        while (ready := _READY.search(self._output.read_text())) is None or (self._tls and ready[2] is None):
            if self.process.poll() is not None:
                raise DaemonFailed(f"{self.name} ended with {self.process.returncode} at start\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise DaemonFailed(f"{self.name} was not ready within {timeout} s\n{self.log_tail()}")
            time.sleep(0.01)
        self.port = int(ready.group(1).rpartition(":")[2])
        if self._tls:
            self.tls_port = int(ready.group(2).rpartition(":")[2])

    def reload(self) -> None:
        """SIGHUP."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM, and its exit code; guests run on. Raises ``DaemonFailed`` when it does not end."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DaemonFailed(f"{self.name} did not end within {timeout} s of SIGTERM\n{self.log_tail()}") from None

    def kill(self) -> None:
        """SIGKILL the daemon alone; guests run on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) it and start it again on the same port."""
        if self.running:
            if kill:
                self.kill()
            else:
                self.stop()
        self.start()

    def lose_power(self) -> None:
        """Its host goes down: daemon, QEMUs and everything that a boot does not find again."""
        if self.running:
            self.kill()
        processes.end_marked(self.root)
        shutil.rmtree(self.root / "run", ignore_errors=True)

    def clean_up(self) -> None:
        """End the daemon and every process it has started; doing it twice does nothing."""
        try:
            if self.running:
                self.stop()
        finally:
            processes.end_marked(self.root)

    # ---- what is known -------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """True while the process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def socket(self) -> Path:
        """The UNIX socket."""
        return self.root / "run" / "culvert-sock"

    @property
    def uri(self) -> str:
        """The connection URI by the UNIX socket."""
        return f"qemu+unix:///system?socket={self.socket}"

    @property
    def tcp_uri(self) -> str:
        """The connection URI by TCP."""
        return f"qemu+tcp://127.0.0.1:{self.port}/system"

    def tls_uri(self, host: str = "127.0.0.1", port: int = 0, **parameters: object) -> str:
        """The connection URI by TLS, with parameters (``pkipath``)."""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"qemu+tls://{host}:{port or self.tls_port}/system{'?' if query else ''}{query}"

    def uri_by(self, port: int) -> str:
        """The connection URI by another port of this machine (a proxy's)."""
        return f"qemu+tcp://127.0.0.1:{port}/system"

    @property
    def log(self) -> str:
        """Everything it has logged, over all starts."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def wait_logged(self, text: str, timeout: float = 20) -> None:
        """Wait until its log holds ``text``: what a peer has heard may be in the log only later.

        Raises ``AssertionError`` with the log's end.
        """
        try:
            wait_for(lambda: text in self.log, f"{text!r} in the log of {self.name}", timeout)
        except AssertionError as never:
            raise AssertionError(f"{never}\n{self.log_tail()}") from None

    def assert_never_held(self, since: int = 0) -> None:
        """Raise ``AssertionError`` if its log, from ``since`` on, tells of a callback that held the event loop."""
        held = [line for line in self.log[since:].splitlines() if loop_guard.HELD in line]
        assert not held, f"{self.name} does not answer anybody meanwhile (docs/testing.md):\n" + "\n".join(held)

    def log_tail(self) -> str:
        """The end of its log, and the end of what each of its QEMUs has said."""
        parts = [f"--- log of {self.name}\n{self.log[-LOG_TAIL:]}"]
        for path in sorted(self.root.glob("log/qemu/*.log")):
            parts.append(f"--- {path.name} on {self.name}\n{path.read_text('utf-8', 'replace')[-LOG_TAIL:]}")
        return "\n".join(parts)

    def qemu_pids(self) -> list[int]:
        """The QEMU processes it (or a daemon before it, of the same root) has started and that live."""
        return [pid for pid in processes.marked(self.root) if processes.program(pid).startswith("qemu-system")]

    def wait_no_qemu(self, timeout: float = 20) -> None:
        """Wait until none of its QEMU processes is left. Raises ``AssertionError``."""
        left = processes.wait_gone(self.qemu_pids(), timeout)
        assert not left, f"{self.name} still has QEMU processes {left}\n{self.log_tail()}"

    def leftovers(self) -> list[str]:
        """What should not be there when no guest runs: QEMU processes, and files of guests under ``run/``."""
        found = [f"process {pid} {processes.program(pid)}" for pid in self.qemu_pids()]
        guests = self.root / "run" / "qemu"
        return found + [str(path.relative_to(self.root)) for path in sorted(guests.rglob("*"))]

    def assert_no_leftovers(self, timeout: float = 20) -> None:
        """Raise ``AssertionError`` if anything of a guest is still there after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while (found := self.leftovers()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not found, f"left behind on {self.name}: {found}\n{self.log_tail()}"


def short_folder() -> Path:
    """A new folder whose path is short: a libvirt client cannot use a UNIX socket path of more than 107 bytes."""
    return Path(tempfile.mkdtemp(prefix="culvert-", dir="/tmp"))


def remove_folder(path: Path) -> None:
    """Remove ``path`` and everything in it."""
    shutil.rmtree(path, ignore_errors=True)


def _with_emulators(config: str, folder: Path) -> str:
    """``config`` of a daemon that also runs QEMUs which the test has put below ``folder``."""
    if "emulators =" in config:
        return config
    line = f'emulators = ["/usr/bin/qemu-system-*", "{folder}/*"]\n'
    before, section, after = config.partition("[qemu]\n")
    return f"{before}[qemu]\n{line}{after}" if section else f"{config}\n[qemu]\n{line}"
