"""The dnsmasq of a network: started, told of changes, found again after a restart of the daemon, ended.

It leaves the daemon's hands when it is started, so that names and addresses go on being given out whatever becomes of
the daemon; it is known by the file with its pid, and watched through a pidfd. It gives root's rights up by itself,
but for what it needs.
"""

from __future__ import annotations

import logging
import os
import pwd
import signal
from pathlib import Path

from culvert.domain.network.definition import NetworkDef
from culvert.drivers.network import dnsmasq, tool
from culvert.drivers.network.dnsmasq import ServerFiles
from culvert.drivers.qemu import environment
from culvert.drivers.qemu.process import Output, Process, adopt, identify
from culvert.ground import errors
from culvert.io import blocking, files

log = logging.getLogger(__name__)

PROGRAM = "dnsmasq"
USER = "dnsmasq"  # whom dnsmasq-base makes for it; where there is none, it becomes nobody
STOP_TIMEOUT = 5.0  # seconds between asking it to end and ending it
OPEN_MODE = 0o755
READABLE = 0o644


async def start(network: NetworkDef, where: ServerFiles) -> Process | None:
    """A dnsmasq for ``network``, which answers on return; ``None`` where there is nothing to serve.

    Raises ``errors.InternalError`` with what it complains of, ``errors.SystemCallError`` without one.
    """
    if not dnsmasq.is_needed(network):
        return None
    await blocking.to_its_end(lambda: _write_all(network, where))
    variables = environment.of_qemu(os.environ, uid=os.geteuid(), folder=where.state)
    # It ends when the one that it leaves behind has written its pid and can serve.
    await tool.run(PROGRAM, [f"--conf-file={where.configuration}"], environment=variables)
    found = await blocking.to_its_end(lambda: _find(where))
    if found is None:
        raise errors.InternalError(f"dnsmasq of network '{network.name}' has ended as soon as it was started")
    log.info("network=%s dnsmasq pid=%d", network.name, found)
    return _watch(network.name, found, where)


async def find(network: NetworkDef, where: ServerFiles) -> Process | None:
    """The one that an earlier daemon has left running."""
    pid = await blocking.to_its_end(lambda: _find(where))
    return None if pid is None else _watch(network.name, pid, where)


async def refresh(network: NetworkDef, where: ServerFiles, process: Process | None) -> None:
    """Have it read again who gets which address, and the names."""
    await blocking.to_its_end(lambda: _write_readable(network, where))
    if process is not None:
        process.signal(signal.SIGHUP)


async def stop(process: Process | None) -> None:
    """It has ended on return. Raises ``errors.OperationTimeout``."""
    if process is not None and not process.exited.is_set():
        await process.terminate(force_after=STOP_TIMEOUT)


def _watch(name: str, pid: int, where: ServerFiles) -> Process | None:
    try:
        identity = identify(pid)
    except OSError:
        return None
    return adopt(f"dnsmasq of {name}", identity, Output(Path(os.devnull), 0))


def _find(where: ServerFiles) -> int | None:
    """The pid in its file, if that is this network's dnsmasq and not whoever got the number since."""
    try:
        pid = int(where.pid.read_text(encoding="ascii"))
        said = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(f"--conf-file={where.configuration}") in said else None


def _write_all(network: NetworkDef, where: ServerFiles) -> None:
    try:
        where.state.mkdir(parents=True, exist_ok=True)
        where.state.chmod(OPEN_MODE)  # whatever the daemon's umask is
        where.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise errors.SystemCallError(
            f"cannot create directory {where.state}: {err.strerror}", errno=err.errno
        ) from err
    user = _user()
    _check_reachable(where.state, user)
    name = None if user is None else user.pw_name
    files.write_atomically(where.configuration, dnsmasq.configuration(network, where, name))
    _write_readable(network, where)


def _write_readable(network: NetworkDef, where: ServerFiles) -> None:
    for path, text in ((where.hosts, dnsmasq.hosts(network)), (where.names, dnsmasq.names(network))):
        files.write_atomically(path, text)
        path.chmod(READABLE)


def _user() -> pwd.struct_passwd | None:
    """Whom it becomes when root starts it."""
    try:
        return pwd.getpwnam(USER) if os.geteuid() == 0 else None
    except KeyError:
        return None


def _check_reachable(folder: Path, user: pwd.struct_passwd | None) -> None:
    """Raise ``errors.OperationFailed`` when dnsmasq, as its own user, could not read its files: it would say so to
    the system's log alone, and serve nobody."""
    if user is None:
        return
    for each in (folder, *folder.parents):
        found = each.stat()
        allowed = found.st_mode & 0o001 or (found.st_uid == user.pw_uid and found.st_mode & 0o100)
        if not allowed:
            raise errors.OperationFailed(
                f"operation failed: dnsmasq's user '{user.pw_name}' has no way into {each}, and {folder} is for it:"
                f" chmod o+x {each}"
            )


def forget(where: ServerFiles, *, leases: bool) -> None:
    """Remove its files; ``leases``: also what it knows of its guests. It touches the disk."""
    for path in where.all:
        if leases or path != where.leases:
            try:
                path.unlink(missing_ok=True)
            except OSError as err:
                log.warning("file=%s is left behind reason=%r", path, str(err))
