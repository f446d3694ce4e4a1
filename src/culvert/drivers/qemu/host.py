"""What all domains of a driver share: directories, files, events, tasks, and the numbers handed out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import UUID

from culvert.channels.work import close_with
from culvert.domain.definition import DomainDef
from culvert.drivers.network.port import NetworkPorts, NoNetworks
from culvert.drivers.qemu.abilities.emulators import Emulators
from culvert.drivers.qemu.abilities.machines import Machines
from culvert.drivers.qemu.events import Events
from culvert.drivers.qemu.monitor import CONNECT_TIMEOUT
from culvert.drivers.qemu.outside import NoSecrets, NoVolumes, SecretValues, Volumes
from culvert.drivers.qemu.process import TERM_TIMEOUT
from culvert.drivers.qemu.state.layout import Layout
from culvert.drivers.qemu.state.recorder import Recorder
from culvert.drivers.qemu.state.store import Store
from culvert.ground import errors

T = TypeVar("T")

log = logging.getLogger(__name__)

FINISH_TIMEOUT = 45.0  # seconds for a guest that is being ended when the daemon stops


class Retiring(Protocol):
    """What the list must know of a domain that leaves it."""

    @property
    def uuid(self) -> UUID: ...


class Absences(Protocol):
    """Who knows which of this host's domains have gone to another one. Every call raises ``errors.RequestError`` when
    what it keeps cannot be read, or written."""

    async def gone_to(self, uuid: UUID) -> str:
        """Where the domain has gone, or may have; empty: it is here."""

    async def here_again(self, uuid: UUID) -> None:
        """Somebody has started it here."""

    async def undefined(self, uuid: UUID) -> None:
        """Its definition is gone."""

    async def believe(self, name: str, uuid: UUID, peer: str) -> None:
        """A file of culvert 0.1.0 says that the domain ``name``, which is ``uuid`` here, has gone to ``peer``."""


class Nowhere:
    """Of a driver whose domains go nowhere."""

    async def gone_to(self, uuid: UUID) -> str:
        return ""

    async def here_again(self, uuid: UUID) -> None:
        return

    async def undefined(self, uuid: UUID) -> None:
        return

    async def believe(self, name: str, uuid: UUID, peer: str) -> None:
        return


@dataclass
class QemuHost:
    """Made by the driver, given to every domain.

    ``tasks`` owns every task that outlives a call; ``retire`` takes a transient domain that has ended off the list.
    """

    layout: Layout
    store: Store
    events: Events
    recorder: Recorder
    emulators: Emulators
    tasks: asyncio.TaskGroup
    retire: Callable[[Retiring], None]
    start_timeout: float = CONNECT_TIMEOUT
    """Seconds until a started QEMU answers on its monitor."""
    stop_timeout: float = TERM_TIMEOUT
    """Seconds between asking a QEMU to end and killing it."""
    last_id: int = 0
    winding_up: bool = False
    """The driver is being left: nothing new is begun."""
    allow_commandline: bool = False
    """A definition may have words of its own for QEMU's command line."""
    spice_tls: str = ""
    """The folder with the certificates of SPICE servers; empty: none is encrypted."""
    vnc_ports: set[int] = field(default_factory=set)
    """Ports given to guests that are being started or run: not to be tried for another one."""

    strays: dict[UUID, Path] = field(default_factory=dict)
    """Monitor socket of each QEMU that runs without a status, by its domain's UUID; see ``strays``."""

    enlist: Callable[[Any], None] = lambda domain: None
    """Puts a domain that has become persistent on the list again, if it has left it; set by the driver."""

    may_start: Callable[[UUID], None] = lambda uuid: None
    """Raises why the domain of that UUID must not be started here; set by who knows where else it may run."""

    networks: NetworkPorts = field(default_factory=NoNetworks)
    """What cards of type ``network`` are plugged into; set by the driver."""

    may_claim: Callable[[DomainDef], None] = lambda definition: None
    """Asked for each definition that takes a name, and for the one whose place it takes; raises where it may not."""

    whereabouts: Absences = field(default_factory=Nowhere)
    """Set with ``may_start``: that speaks of migrations that are not over, this of those that are."""

    volumes: Volumes = field(default_factory=NoVolumes)
    secrets: SecretValues = field(default_factory=NoSecrets)
    """Both are set by who has them."""

    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _finishing: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def machines(self) -> Machines:
        """What the default emulator said last."""
        return self.emulators.known()

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str, essential: bool = False) -> None:
        """Run ``work`` in a task of its own that lives as long as the driver.

        A failure is logged and ends nothing else. ``essential`` work is waited for when the driver is left.
        """
        task = self.tasks.create_task(self._guarded(work, name), name=name)
        close_with(task, work)
        kept = self._finishing if essential else self._running
        kept.add(task)
        task.add_done_callback(kept.discard)

    async def carry_out(self, work: Coroutine[Any, Any, T], *, name: str) -> T:
        """Run ``work`` to its end, also when the caller is cancelled, and return or raise what it does.

        For what must not stop half way: the disk changed, and memory not.
        """
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def working() -> None:
            try:
                result = await work
            except BaseException as err:
                if not outcome.cancelled():
                    outcome.set_exception(err if isinstance(err, Exception) else errors.OperationAborted(name))
                if not isinstance(err, Exception):
                    raise
            else:
                if not outcome.cancelled():
                    outcome.set_result(result)

        self.spawn(working(), name=name, essential=True)
        return await outcome

    def create_task(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """``spawn``, under the name by which a ``TaskGroup`` has it."""
        self.spawn(work, name=name)

    async def wind_up(self) -> None:
        """Wait for essential work, cancel the rest."""
        self.winding_up = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_TIMEOUT):
                while self._finishing:  # one may lead to another: a guest that is ended is cleared away
                    await asyncio.wait(tuple(self._finishing))
                    await asyncio.sleep(0)
        rest = (*self._running, *self._finishing)
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=FINISH_TIMEOUT)

    @staticmethod
    async def _guarded(work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await work
        except Exception:  # one guest's fault must not end the others
            log.exception("task=%s failed", name)

    def allocate_id(self) -> int:
        """The next id; never one that a running domain has."""
        self.last_id += 1
        return self.last_id

    def note_id(self, domain_id: int) -> None:
        """An adopted domain has this id."""
        self.last_id = max(self.last_id, domain_id)
