"""QEMUs that run without a status: an earlier daemon started them, and what it wrote of them cannot be read.

Nothing is done to such a process, it may be somebody's guest. But its number is not given again, so that its
directory stays its own, and its domain is not started beside it: two of one guest would write to the same disks.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Collection
from pathlib import Path
from uuid import UUID

from culvert.drivers.qemu.host import QemuHost
from culvert.drivers.qemu.monitor import Monitor
from culvert.drivers.qemu.run import MONITOR_SOCKET
from culvert.ground import errors
from culvert.io import unix_sockets

log = logging.getLogger(__name__)

ANSWER_TIMEOUT = 10.0  # seconds the start of the daemon waits for one of them; all are asked at once
_DIRECTORY = re.compile(r"domain-(\d+)-")  # Layout.runtime


async def find(host: QemuHost, known: Collection[Path]) -> None:
    """Note in ``host`` every run whose directory is there and is none of ``known``, saying so in the log."""
    found = await asyncio.to_thread(lambda: [path for path in host.layout.statuses.glob("domain-*") if path.is_dir()])
    async with asyncio.TaskGroup() as asking:
        for runtime in sorted(set(found) - set(known)):
            number = _DIRECTORY.match(runtime.name)
            if number is not None:
                host.note_id(int(number.group(1)))
                asking.create_task(_ask(host, runtime), name=f"stray-{runtime.name}")


async def _ask(host: QemuHost, runtime: Path) -> None:
    path = runtime / MONITOR_SOCKET
    if not lives(path):
        log.warning("directory=%s is left of a run of which nothing else is known", runtime)
        return
    try:
        monitor = await Monitor.connect(path, host, name=runtime.name, timeout=ANSWER_TIMEOUT)
        try:
            answer = await monitor.execute("query-uuid", timeout=ANSWER_TIMEOUT)
        finally:
            await monitor.close()
        uuid = UUID(answer["UUID"])
    except (errors.RequestError, KeyError, TypeError, ValueError) as err:
        log.error("monitor=%s belongs to a QEMU of which nothing else is known reason=%r", path, str(err))
        return
    host.strays[uuid] = path
    log.error(
        "monitor=%s uuid=%s is a QEMU whose status file cannot be read: it runs on, and its domain cannot be started",
        *(path, uuid),
    )


def check(host: QemuHost, name: str, uuid: UUID) -> None:
    """Refuse to start a domain whose guest still runs unsupervised. Raises ``errors.OperationInvalid``."""
    path = host.strays.get(uuid)
    if path is None:
        return
    if lives(path):
        raise errors.OperationInvalid(
            f"domain '{name}' still runs in a QEMU that an earlier daemon has left and whose status file could not "
            f"be read: end that one first, by its monitor '{path}' or its process"
        )
    del host.strays[uuid]


def lives(path: Path) -> bool:
    """Whether somebody listens at ``path``."""
    try:
        unix_sockets.connect(path).close()
    except BlockingIOError:
        return True  # its queue is full
    except OSError:
        return False
    return True
