"""The emulator of a guest's TPM: a process of its own beside QEMU, begun before it and ended with it.

It is swtpm. It inherits a listening socket in the folder of the run, to which QEMU connects; it ends by itself when
that connection does, and is ended when it does not. A guest goes on when its emulator dies, as with libvirt: its TPM
answers no more. The next daemon finds the emulator by a file with its process id in that folder, or by its arguments.

It is confined as QEMU is: the daemon's own user, an environment of its own, and swtpm's own filter of system calls.

Source: qemu/qemu_tpm.c of libvirt 9.0; swtpm(8) of 0.7.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Collection
from pathlib import Path

from culvert.domain.definition import DomainDef
from culvert.drivers.qemu import environment, process, shared, tpm_state
from culvert.drivers.qemu.command.command_tpm import SOCKET
from culvert.drivers.qemu.process import Output, Process
from culvert.drivers.qemu.run import Run
from culvert.drivers.qemu.startup import SIDE
from culvert.drivers.qemu.state.layout import Layout
from culvert.ground import errors
from culvert.io import blocking, fault_points, unix_sockets

log = logging.getLogger(__name__)

PID_FILE = "swtpm.pid"
END_TIMEOUT = 5.0  # seconds between asking it to end and killing it
ASK_TIMEOUT = 10.0  # seconds for it to say what it can do
TOGETHER = 2.0  # seconds in which QEMU's end is the reason for its emulator's

MIGRATION = "cmdarg-migration"
"""It lets go of its state where two hosts share the folder: swtpm 0.8 and later."""


def words(
    definition: DomainDef, layout: Layout, runtime: Path, listener: int, *, migration: str | None = None
) -> list[str]:
    """Its command line; ``listener``: the socket that it inherits, ``migration``: what it is told of shared state."""
    tpm = tpm_state.tpm_of(definition)
    return [
        *(tpm_state.program("swtpm"), "socket", "--ctrl", f"type=unixio,fd={listener}"),
        *("--tpmstate", f"dir={tpm_state.folder(definition, layout)},mode=0600"),
        *("--pid", f"file={runtime / PID_FILE}", "--terminate"),
        *(("--tpm2",) if tpm is not None and tpm.backend.version == "2.0" else ()),
        *(("--migration", migration) if migration else ()),
    ]


async def start(name: str, run: Run, layout: Layout, *, incoming: bool) -> None:
    """Begin the one that the guest of ``run`` has, if it has one; the folder of the run is there.

    Raises ``errors.ConfigUnsupported`` for what this host cannot do, ``errors.InternalError``,
    ``errors.SystemCallError``. What has been begun then ends with the run.
    """
    definition = run.definition
    if tpm_state.tpm_of(definition) is None:
        return
    log_file = layout.tpm_log(name)
    await asyncio.to_thread(log_file.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
    await tpm_state.prepare(definition, layout, incoming=incoming, log_file=log_file, home=run.runtime)
    migration = await _on_shared_storage(layout, run, incoming=incoming)
    listener = await blocking.made(lambda: unix_sockets.listen(run.runtime / SOCKET), undo=socket.socket.close)
    with listener:
        argv = words(definition, layout, run.runtime, listener.fileno(), migration=migration)
        run.tpm = await process.launch(
            name, argv, log_file=log_file, folder=run.runtime, pass_fds=[listener.fileno()]
        )
    await fault_points.reach(SIDE, "tpm")


async def _on_shared_storage(layout: Layout, run: Run, *, incoming: bool) -> str | None:
    if not await asyncio.to_thread(shared.is_shared, str(layout.swtpm)):
        return None
    if MIGRATION in await features(run.runtime):
        return "release-lock-outgoing,incoming" if incoming else "release-lock-outgoing"
    if incoming:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: /domain/devices/tpm: '{layout.swtpm}' is shared with other hosts, and the"
            " swtpm here cannot take over what another one holds: 0.8 and later can"
        )
    return None


async def features(home: Path) -> frozenset[str]:
    """What the swtpm of this host says that it can do; nothing where there is none, or it says nothing."""
    try:
        asking = await asyncio.create_subprocess_exec(
            *(tpm_state.program("swtpm"), "socket", "--print-capabilities"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment.of_qemu(os.environ, uid=os.geteuid(), folder=home),
        )
    except (errors.ConfigUnsupported, OSError):
        return frozenset()
    try:
        async with asyncio.timeout(ASK_TIMEOUT):
            told, _ = await asking.communicate()
        return frozenset(map(str, json.loads(told)["features"]))
    except (TimeoutError, ValueError, LookupError, TypeError):
        return frozenset()
    finally:
        if asking.returncode is None:
            asking.kill()
            await asking.wait()


async def versions(home: Path) -> tuple[str, ...]:
    """Of TPMs that it can be."""
    told = await features(home)
    return tuple(version for version in tpm_state.FOLDERS if f"tpm-{version}" in told)


async def watch(name: str, run: Run) -> None:
    """Wait for its end, and tell of it unless that is QEMU's too."""
    assert run.tpm is not None
    await run.tpm.exited.wait()
    if run.process is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TOGETHER):
                await run.process.exited.wait()
                return
    if run.ending is None and not run.gone.is_set():
        log.error(
            "domain=%s its TPM's emulator, swtpm, has ended (%s): the guest runs on, and its TPM answers no more",
            *(name, run.tpm.exit_text),
        )


async def end(run: Run) -> None:
    """It has ended on return, whoever has begun it; one that is not there has."""
    if tpm_state.tpm_of(run.definition) is None:
        return
    if run.tpm is None:
        await find(run, Path(os.devnull))
    if (emulator := run.tpm) is None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        emulator.signal(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT):
                await emulator.exited.wait()
                return
    log.error("pid=%d is a swtpm that has been killed, and the kernel still holds it", emulator.pid)


async def find(run: Run, log_file: Path) -> None:
    """The one that an earlier daemon has begun for ``run``, if it still runs, is that of ``run``."""
    if tpm_state.tpm_of(run.definition) is None:
        return
    identity = await asyncio.to_thread(_identity, run.runtime)
    if identity is not None:
        run.tpm = process.adopt("swtpm", identity, Output(log_file, 0))


def _identity(runtime: Path) -> process.ProcessIdentity | None:
    told = f"file={runtime / PID_FILE}"
    try:
        pids: Collection[int] = [int((runtime / PID_FILE).read_text())]
    except (OSError, ValueError):
        # The daemon was killed before swtpm had come so far.
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            if told.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return process.identify(pid)
    return None


def let_go(run: Run) -> None:
    """Nobody waits for it any more; it runs on."""
    emulator: Process | None = run.tpm
    if emulator is not None:
        emulator.forget()
