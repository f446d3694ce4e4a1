"""A real, stock ``libvirtd`` with a host of its own: started, stopped, killed, restarted, looked into.

It lives in mount and UTS namespaces of its own (in a network namespace too, when asked) where ``/run/libvirt``,
``/var/lib/libvirt``, ``/etc/libvirt``, ``/var/log/libvirt`` and ``/var/cache/libvirt`` are folders below its root. It
has its own host name, host UUID, ``/etc/hosts`` and accounts; so several live beside each other and beside the
machine's own. Everything else of the file system is the machine's: a guest's files have the same paths
everywhere.

It runs under ``tini -s``, so a QEMU that it starts and lets go of is reaped at once, not when PID 1 comes to it.

What belongs to it is found by its mount namespace: every process it starts is in there, also when its parent is
gone. The namespaces are held by descriptors and entered again at a restart; with the last process in them the mounts
go too.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from guests import cache
from tests.support import processes
from tests.support.daemon import LOG_TAIL, DaemonFailed
from tests.support.pki import Holder

FOLDERS = {
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "etc": "/etc/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
}
"""Folder below the root → where libvirtd looks for it."""

# Enters the namespaces of an earlier start, or makes them; the arguments: root, name, libvirtd's own.
_SET_UP = """
set -eu
root=$1 name=$2; shift 2
for pair in {pairs}; do mkdir -p "${{pair#*:}}"; mount --bind "$root/${{pair%%:*}}" "${{pair#*:}}"; done
for file in hosts passwd group; do mount --bind "$root/$file" "/etc/$file"; done
hostname "$name"
exec tini -s -- libvirtd "$@"
""".format(pairs=" ".join(f"{ours}:{theirs}" for ours, theirs in FOLDERS.items()))

# Debian's libvirtd does not start without them; they come with libvirt-daemon-system, which starts a libvirtd of the
# machine's too, and that is not wanted here.
ACCOUNTS = {
    "passwd": "libvirt-qemu:x:64055:64055:Libvirt Qemu:/var/lib/libvirt:/usr/sbin/nologin",
    "group": "libvirt-qemu:x:64055:",
}

NEEDS = "a libvirtd of one's own needs root (namespaces) and the packages libvirt-daemon-driver-qemu and tini"
"""What a test says that is skipped for want of ``possible()``."""

START_TRIES = 5  # a port that was free a moment ago may not be when libvirtd takes it


DRIVER = "libvirt/connection-driver/libvirt_driver_qemu.so"
LIBRARIES = (Path("/usr/lib64"), *Path("/usr/lib").glob("*-linux-*"))
"""Where distributions have it: a libvirtd without it starts, and then has `no connection driver available`."""


def possible(libraries: Iterable[Path] = LIBRARIES) -> bool:
    """Whether this machine and this user can have one."""
    programs = ("libvirtd", "tini", "unshare", "nsenter", "mount", "hostname")
    driver = any((folder / DRIVER).exists() for folder in libraries)
    return os.geteuid() == 0 and driver and all(shutil.which(program) for program in programs)


class Libvirtd:
    """One libvirtd; ``root`` is its folder (made here), ``name`` its host name too. A context manager.

    ``address``: where it listens and is reached. ``namespace``: of those of ``ip netns``. ``tls``: a holder of
    certificates for its TLS port. ``config``, ``qemu_config``, ``hosts``: more lines for its two files of
    settings and its ``/etc/hosts``. ``within``: words that run it elsewhere, in the root of another Debian.

    Afterwards ``uri`` (UNIX socket), ``tcp_uri`` and, with certificates, ``tls_uri()`` connect to it; the first two
    without a password. A restart keeps the ports.
    """

    def __init__(
        self,
        root: Path,
        *,
        name: str = "libvirt-host",
        address: str = "127.0.0.1",
        namespace: str = "",
        tls: Holder | None = None,
        config: str = "",
        qemu_config: str = "",
        hosts: str = "",
        within: Sequence[str] = (),
    ) -> None:
        self.root = root
        self.name = name
        self.address = address
        self.namespace = namespace
        self.host_uuid = uuid.uuid4()
        self.port = 0
        self.tls_port = 0
        self._tls = tls
        self._config = config
        self._qemu_config = qemu_config
        self._hosts = hosts
        self._within = list(within)
        self._log = root / "libvirtd.log"
        self._tini: subprocess.Popen[bytes] | None = None
        self._namespaces: dict[str, int] = {}
        self._mounts = 0
        # Above the displays that QEMU's other users take, below what the kernel gives to clients.
        self._ports = 8000 + 100 * random.randrange(200)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.clean_up()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clean_up()

    # ---- life ----------------------------------------------------------------------------------------------------

    def start(self, timeout: float = 60) -> None:
        """Start it and wait until it answers. Raises ``DaemonFailed``."""
        assert not self.running, f"{self.name} is running already"
        self._make_folders()
        chosen = bool(self.port)
        for last in range(START_TRIES):
            if not chosen:
                self.port, self.tls_port = _free_ports(self.address, 2)
            self._write_config()
            try:
                self._start(time.monotonic() + timeout)
            except DaemonFailed:
                taken = "Address already in use" in self.log
                if chosen or not taken or last == START_TRIES - 1:
                    raise
                self._log.unlink()
            else:
                return

    def _start(self, deadline: float) -> None:
        pid_file = self.root / "run" / "libvirtd.pid"
        pid_file.unlink(missing_ok=True)
        with open(self._log, "ab") as log:
            self._tini = subprocess.Popen(
                [*self._enter(), "--listen", "--pid-file", str(pid_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=list(self._namespaces.values()),
                start_new_session=True,
            )
        while not self._answers():
            if self._tini.poll() is not None:
                raise DaemonFailed(f"{self.name} ended with {self._tini.returncode} at start\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise DaemonFailed(f"{self.name} was not ready in time\n{self.log_tail()}")
            time.sleep(0.02)
        if not self._namespaces:
            self._hold_namespaces()

    def _enter(self) -> list[str]:
        """The command up to libvirtd's own arguments; it only ever replaces itself, up to tini."""
        if self._namespaces:
            wanted = [f"--{kind}=/proc/self/fd/{fd}" for kind, fd in self._namespaces.items()]
            return ["nsenter", *wanted, "tini", "-s", "--", "libvirtd"]
        network = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        own = ["unshare", "--mount", "--uts", "--propagation", "private"]
        return [*self._within, *network, *own, "bash", "-c", _SET_UP, "set-up", str(self.root), self.name]

    def _hold_namespaces(self) -> None:
        kinds = {"mount": "mnt", "uts": "uts", **({"net": "net"} if self.namespace else {})}
        for option, kind in kinds.items():
            self._namespaces[option] = os.open(f"/proc/{self.pid}/ns/{kind}", os.O_RDONLY)
        self._mounts = os.fstat(self._namespaces["mount"]).st_ino

    def _answers(self) -> bool:
        """Its pid file is written and its UNIX socket takes connections, which it does when its drivers are ready."""
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(self.socket))
            return self.pid > 0
        except (OSError, ValueError):
            return False

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM, and its exit code; guests run on. Raises ``DaemonFailed`` when it does not end."""
        assert self._tini is not None
        os.kill(self.pid, signal.SIGTERM)
        try:
            return self._tini.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DaemonFailed(f"{self.name} did not end within {timeout} s of SIGTERM\n{self.log_tail()}") from None

    def kill(self) -> None:
        """SIGKILL the daemon alone; guests run on."""
        assert self._tini is not None
        with contextlib.suppress(OSError, ValueError):
            os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._tini.wait(10)
        if self._tini.poll() is None:
            self._tini.kill()
            self._tini.wait()

    def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) it and start it again on the same ports, in the same namespaces."""
        if self.running:
            if kill:
                self.kill()
            else:
                self.stop()
        self.start()

    def clean_up(self) -> None:
        """End the daemon and every process in its namespaces; doing it twice does nothing."""
        try:
            if self.running:
                self.kill()
            self._keep_capabilities()
        finally:
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            left = processes.wait_gone(self.pids(), 10)
            while self._namespaces:
                os.close(self._namespaces.popitem()[1])
            assert not left, f"{self.name} leaves processes {left}"

    # ---- its files -----------------------------------------------------------------------------------------------

    def _make_folders(self) -> None:
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        if not (self.root / "hosts").exists():
            machine = Path("/etc/hosts").read_text(encoding="utf-8")
            names = f"{self.address} {self.name}\n{self._hosts}\n{machine}"
            (self.root / "hosts").write_text(names, encoding="utf-8")
            for file, line in ACCOUNTS.items():
                accounts = Path("/etc", file).read_text(encoding="utf-8")
                text = accounts if "\nlibvirt-qemu:" in accounts else f"{accounts}{line}\n"
                (self.root / file).write_text(text, encoding="utf-8")
            # To ask QEMU what it can do takes libvirtd a second and a half; it checks by itself what it finds here.
            if (known := _known_capabilities()).is_dir():
                shutil.copytree(known, self.root / "cache" / "qemu" / "capabilities")

    def _write_config(self) -> None:
        lines = [
            *("listen_tcp = 1", 'auth_tcp = "none"', 'auth_unix_rw = "none"', 'auth_unix_ro = "none"'),
            *(f'listen_addr = "{self.address}"', f'tcp_port = "{self.port}"', f'host_uuid = "{self.host_uuid}"'),
            *(f"listen_tls = {int(self._tls is not None)}", f'tls_port = "{self.tls_port}"'),
        ]
        if self._tls is not None:
            files = self._tls.server
            lines += [f'ca_file = "{files.ca}"', f'cert_file = "{files.cert}"', f'key_file = "{files.key}"']
        (self.root / "etc" / "libvirtd.conf").write_text("\n".join([*lines, self._config, ""]), encoding="utf-8")
        # As root, so that a guest's files are whose they are, here as under another daemon that is root.
        settings = (
            *('security_driver = "none"', 'stdio_handler = "file"', 'user = "root"', 'group = "root"'),
            *("dynamic_ownership = 0", "remember_owner = 0", "namespaces = []", "cgroup_controllers = []"),
            # Ranges of its own: whether a port is free it finds out well before QEMU takes it.
            *(f"remote_display_port_min = {self._ports}", f"remote_display_port_max = {self._ports + 49}"),
            *(f"migration_port_min = {self._ports + 50}", f"migration_port_max = {self._ports + 99}"),
        )
        (self.root / "etc" / "qemu.conf").write_text("\n".join([*settings, self._qemu_config, ""]), encoding="utf-8")

    def _keep_capabilities(self) -> None:
        found = self.root / "cache" / "qemu" / "capabilities"
        known = _known_capabilities()
        if found.is_dir() and not known.is_dir():
            # Another may do the same at this moment: the first one's stays.
            draft = known.with_name(f"{known.name}.{os.getpid()}.{self.host_uuid}")
            shutil.copytree(found, draft)
            with contextlib.suppress(OSError):
                draft.rename(known)
            shutil.rmtree(draft, ignore_errors=True)

    # ---- what is known -------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """True while the process lives."""
        return self._tini is not None and self._tini.poll() is None

    @property
    def pid(self) -> int:
        """libvirtd's own process id (not tini's)."""
        return int((self.root / "run" / "libvirtd.pid").read_text(encoding="ascii"))

    @property
    def socket(self) -> Path:
        """The UNIX socket, as seen from outside its namespaces."""
        return self.root / "run" / "libvirt-sock"

    @property
    def uri(self) -> str:
        """The connection URI by the UNIX socket."""
        return f"qemu+unix:///system?socket={self.socket}"

    @property
    def tcp_uri(self) -> str:
        """The connection URI by TCP."""
        return self.uri_by(self.port)

    def tls_uri(self, host: str = "", port: int = 0, **parameters: object) -> str:
        """The connection URI by TLS, with parameters (``pkipath``)."""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"qemu+tls://{host or self.address}:{port or self.tls_port}/system{'?' if query else ''}{query}"

    def uri_by(self, port: int) -> str:
        """The connection URI by another port of its address (a proxy's)."""
        return f"qemu+tcp://{self.address}:{port}/system"

    @property
    def log(self) -> str:
        """Everything it has logged, over all starts."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def qemu_logs(self) -> Iterator[Path]:
        """What its QEMUs were started with and have said, a file a domain."""
        yield from sorted(self.root.glob("log/qemu/*.log"))

    def log_tail(self) -> str:
        """The end of its log, and the end of what each of its QEMUs has said."""
        parts = [f"--- log of {self.name}\n{self.log[-LOG_TAIL:]}"]
        for path in self.qemu_logs():
            parts.append(f"--- {path.name} on {self.name}\n{path.read_text('utf-8', 'replace')[-LOG_TAIL:]}")
        return "\n".join(parts)

    def pids(self) -> list[int]:
        """All processes in its mount namespace, itself among them."""
        if not self._mounts:
            return [] if self._tini is None or self._tini.poll() is not None else [self._tini.pid]
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.stat(entry / "ns" / "mnt").st_ino == self._mounts:
                        found.append(int(entry.name))
        return [pid for pid in sorted(found) if processes.state(pid) not in ("Z", "X")]

    def qemu_pids(self) -> list[int]:
        """The QEMU processes that it has started and that live."""
        return [pid for pid in self.pids() if processes.program(pid).startswith("qemu-system")]

    def wait_no_qemu(self, timeout: float = 20) -> None:
        """Wait until none of its QEMU processes is left. Raises ``AssertionError``."""
        left = processes.wait_gone(self.qemu_pids(), timeout)
        assert not left, f"{self.name} still has QEMU processes {left}\n{self.log_tail()}"

    def assert_no_leftovers(self, timeout: float = 20) -> None:
        """Raise ``AssertionError`` if a QEMU of its is still there after ``timeout`` seconds."""
        self.wait_no_qemu(timeout)


def _known_capabilities() -> Path:
    return cache.directory() / "libvirt-capabilities"


def _free_ports(address: str, count: int) -> list[int]:
    """TCP ports that nobody has at the moment; in a network namespace of its own it is a guess that holds too."""
    with contextlib.ExitStack() as stack:
        try:
            taken = [stack.enter_context(socket.create_server((address, 0))) for _ in range(count)]
        except OSError:
            # An address of another network namespace.
            taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in taken]
