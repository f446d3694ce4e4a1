"""Keeps the status files in step with the running domains, without anybody waiting for the disk.

Who changes a domain calls ``changed``; a task of its own writes what is then true, once for many changes. Who must
know that it is on the disk awaits ``persist``.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol
from uuid import UUID

from culvert.drivers.qemu.state.status import Status
from culvert.drivers.qemu.state.store import Store
from culvert.ground import errors
from culvert.io.blocking import to_its_end

log = logging.getLogger(__name__)


class Recorded(Protocol):
    """What a recorder needs to know of a domain."""

    @property
    def name(self) -> str: ...

    @property
    def uuid(self) -> UUID: ...

    async def prepare_status(self) -> None:
        """Do beforehand what takes long of ``status``."""

    def status(self) -> Status | None:
        """What to remember now; ``None`` when the domain does not run."""


class Recorder:
    """Writes and removes status files. ``run`` is its task."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dirty: dict[UUID, Recorded] = {}
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()

    def changed(self, domain: Recorded) -> None:
        self._dirty[domain.uuid] = domain
        self._wake.set()

    async def persist(self, domain: Recorded) -> None:
        """The status of ``domain`` is on the disk on return, or its file is gone when it does not run.

        Raises ``errors.SystemCallError``.
        """
        async with self._writing:
            await domain.prepare_status()
            self._dirty.pop(domain.uuid, None)
            # Taken inside the lock: of two writers the later one must also have the later truth.
            status = domain.status()
            if status is None:
                await to_its_end(lambda: self._store.remove_status(domain.name))
            else:
                await to_its_end(lambda: self._store.save_status(status))

    async def run(self) -> None:
        """Write what changes, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Write everything that has changed."""
        for domain in list(self._dirty.values()):
            try:
                await self.persist(domain)
            except errors.SystemCallError as err:
                log.error("domain=%s its status is not on the disk reason=%r", domain.name, err.message)
