"""One migration of a guest out of this host: begin, perform and confirm, the source's three steps.

The guest belongs to the source until the destination has said that it runs there. Whatever goes wrong before that has
one effect: the first cause is kept, QEMU's migration is cancelled, the stream is aborted, and the guest runs on here.

Every wait inside a departure ends at once when ``fail`` is called, whoever calls it: the person who aborts, the
deadline, the watch over a tunnel that stands still, the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from culvert.domain import format as xml_format
from culvert.drivers.qemu import migration as qemu
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.migration import cookie, governor, guest_cpu, statistics
from culvert.migration.budget import Budget
from culvert.migration.parameters import Options
from culvert.migration.phases import STEPS, Phase, advance
from culvert.migration.route import Way
from culvert.migration.settings import Settings
from culvert.migration.work import Done, captured
from culvert.protocol.constants import (
    DomainState,
    JobOperation,
    JobType,
    MigrateFlag,
    PausedReason,
    RunningReason,
    ShutoffReason,
    StoppedDetail,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

CANCEL_TIMEOUT = 60.0  # seconds QEMU may take to give a migration up
ANNOTATION = "migration.out"  # in the domain's status: "PHASE ATTEMPT running|paused DESTINATION-URI"


class Broke(errors.OperationFailed):
    """QEMU gave the migration up by itself; the destination may know better why."""


class Departure:
    """``attempt`` names this migration towards the destination, for ever: asking what became of it uses that name."""

    def __init__(self, domain: Domain, options: Options, settings: Settings, budget: Budget | None = None) -> None:
        self.domain = domain
        self.options = options
        self.settings = settings
        self._budget = budget or Budget()
        self._governor = governor.Governor()
        self.attempt = secrets.token_hex(16)
        self.phase = Phase.BEGIN3
        self.record = statistics.Record(
            operation=JobOperation.MIGRATION_OUT, type=JobType.UNBOUNDED, step=STEPS[self.phase]
        )
        self.destination_uri = ""
        self.was_running = domain.state is DomainState.RUNNING
        self.reached = self.phase
        """The furthest phase before the confirmation, for telling where it failed."""
        self.cause: errors.RequestError | None = None
        self.disown: Callable[[], None] = lambda: None
        """Ends the care for the connection that drives this migration."""
        self.stays_paused = False
        """The guest may have run elsewhere and nobody can say: only a person lets it run on here."""
        self.over = asyncio.Event()
        """Set when nothing more will be done about this migration."""
        self._failed = asyncio.Event()
        self._outgoing: qemu.Outgoing | None = None
        self._way: Way | None = None

    @property
    def sends(self) -> bool:
        """Whether QEMU is under way, so that its limits can be changed."""
        return self._outgoing is not None and self.phase is Phase.PERFORM3

    @property
    def description(self) -> str:
        """What occupies the domain (``drivers.qemu.domain.Job``)."""
        return "migration out"

    # -- what others may do at any time ---------------------------------------------------------------------------

    def fail(self, cause: errors.RequestError) -> None:
        """End this migration because of ``cause``; the first cause is the one that is reported.

        Does nothing from PERFORM3_DONE on: then only the destination knows whether the guest runs there.
        """
        if self.cause is None and self.phase in (Phase.BEGIN3, Phase.PERFORM3):
            log.info(
                "domain=%s migration=%s fails phase=%s: %s", self.domain.name, self.attempt, self.phase.value, cause
            )
            self.cause = cause
            self._failed.set()

    def cancel(self) -> None:
        """Who asked for the migration wants it no longer. Raises ``OperationInvalid`` when it is too late."""
        if self.phase not in (Phase.BEGIN3, Phase.PERFORM3):
            raise errors.OperationInvalid(
                f"migration of domain '{self.domain.name}' is in phase '{self.phase.value}' and can no longer be "
                "aborted: the destination decides"
            )
        self.fail(errors.OperationAborted("migration out job: canceled by client"))

    async def until_failed(self, work: Awaitable[T]) -> T:
        """The result of ``work``; if ``fail`` is called first, ``work`` is cancelled and the cause raised."""
        async with asyncio.TaskGroup() as tasks:
            failing = tasks.create_task(self._failed.wait(), name=f"migration {self.attempt}: failed?")
            working = tasks.create_task(captured(work), name=f"migration {self.attempt}: step")
            await asyncio.wait({failing, working}, return_when=asyncio.FIRST_COMPLETED)
            failing.cancel()
            working.cancel()
        if not working.cancelled():
            return working.result().unwrap()
        assert self.cause is not None
        raise self.cause

    async def refreshed(self) -> statistics.Record:
        """The job's record with QEMU's latest figures."""
        if self._outgoing is not None and self.sends:
            with contextlib.suppress(errors.RequestError):
                self.record.update(await self._outgoing.statistics())
        meter = None
        if self._way is not None:
            meter, self.record.interruptions = self._way.meter, self._way.interruptions
        self.record.tunnel_bytes = self.record.qemu.ram_transferred if meter is None else meter.bytes
        return self.record

    # -- the steps ------------------------------------------------------------------------------------------------

    def cookie(self, **more: object) -> bytes:
        """A cookie of this side."""
        return cookie.build(
            cookie.Cookie(
                name=self.domain.name,
                uuid=self.domain.uuid,
                hostname=self.settings.hostname,
                host_uuid=self.settings.host_uuid,
                attempt=self.attempt,
                cpu_xml=guest_cpu.running(self.domain),
                **more,  # type: ignore[arg-type]  # the remaining members of Cookie, by their names
            )
        )

    def last_cookie(self) -> bytes:
        """Perform's cookie: the figures, and the definition to keep at the destination, where that was asked for."""
        options, definition = self.options, self.domain.persistent or self.domain.definition
        figures = statistics.numbers(self.record)
        if not options.has(MigrateFlag.PERSIST_DEST):
            return self.cookie(statistics=figures)
        xml = options.persistent_xml or xml_format.format(definition, migratable=True)
        return self.cookie(persistent_xml=xml, statistics=figures, insists=not options.has(MigrateFlag.OFFLINE))

    def check_destination(self, cookie_in: bytes) -> None:
        """Refuse a destination that is this very host. Raises ``InternalError``, as libvirt does."""
        peer = cookie.parse(cookie_in)
        if peer.host_uuid == self.settings.host_uuid:
            raise errors.InternalError(f"Attempt to migrate guest to the same host {peer.host_uuid}")

    async def perform(self, way: Way) -> None:
        """Send the guest along ``way``: on return the destination's QEMU has loaded every byte. Closes ``way``.

        The guest is then paused here. Raises the first cause; QEMU's migration is then cancelled, the way aborted
        and the phase still PERFORM3: ``confirm(False)`` lets the guest run on.
        """
        try:
            await self.enter(Phase.PERFORM3)
            self._way = way
            self.record.route = way.route.value
            self.record.channels = way.setup.channels + 1
            outgoing = self._outgoing = qemu.Outgoing(self.domain)
            if self.options.has(MigrateFlag.ABORT_ON_ERROR):
                outgoing.on_io_error = self._io_error
            try:
                await self._send(outgoing, way)
            except errors.RequestError as err:
                self.fail(err)
            finally:
                outgoing.close()
                await self._budget.leave(self)
            if self.cause is not None:
                way.abort(str(self.cause))
                raise self.cause
        finally:
            way.close()
        self._advance(Phase.PERFORM3_DONE)

    async def _send(self, outgoing: qemu.Outgoing, way: Way) -> None:
        await self.limit(self.options.bandwidth or qemu.max_speed(self.domain))
        with way.entrance() as entrance:
            await self.until_failed(outgoing.start(entrance, way.setup))
        await self._carry(outgoing, way)

    async def limit(self, mib_per_second: int) -> None:
        """Send at most so much from now on, within the host's budget; 0 for no limit of its own."""
        wanted = 0 if mib_per_second >= qemu.UNLIMITED_SPEED else mib_per_second * MiB
        await self._budget.join(self, wanted, self._slow_down)

    async def _slow_down(self, limit: int) -> None:
        await qemu.set_speed(self.domain.monitor, self._governor.change(limit))

    async def _govern(self) -> None:
        """Keep to the limit there is."""
        while True:
            await asyncio.sleep(governor.INTERVAL)
            if self._governor.limit:
                sent = await self._moved()
                with contextlib.suppress(errors.RequestError):
                    await qemu.set_speed(self.domain.monitor, self._governor.look(time.monotonic(), sent))

    async def _carry(self, outgoing: qemu.Outgoing, way: Way) -> None:
        """Go on until QEMU is done and the other end has everything; ``self.cause`` tells how it went."""
        name = f"migration {self.attempt}"
        async with asyncio.TaskGroup() as tasks:
            moving = tasks.create_task(self._move(way), name=f"{name}: {way.route.value}")
            watching = [
                tasks.create_task(self._watch_deadline(), name=f"{name}: deadline"),
                tasks.create_task(self._watch_progress(), name=f"{name}: progress"),
                tasks.create_task(self._govern(), name=f"{name}: speed limit"),
            ]
            try:
                if (status := await self.until_failed(outgoing.settled())) != "completed":
                    why = (await outgoing.statistics()).error or f"QEMU's migration ended as '{status}'"
                    raise Broke(f"job 'migration out' failed: {why}")
                # The guest stands still from here on, so what can be done at the same time is: the next phase is on
                # the disk before anybody is asked to finish, and QEMU's last figures are fetched while it exists.
                meanwhile: list[asyncio.Task[Done[Any]]] = [
                    tasks.create_task(captured(self._write_down(Phase.PERFORM3_DONE)), name=f"{name}: write down"),
                    tasks.create_task(captured(self.refreshed()), name=f"{name}: last figures"),
                ]
                await self.until_failed(way.finish())
                for task in meanwhile:
                    (await task).unwrap()
            except errors.RequestError as err:
                self.fail(err)
                await self._stop(outgoing, way)
            finally:
                for ending in (moving, *watching):
                    ending.cancel()

    async def _move(self, way: Way) -> None:
        try:
            await way.carry()
        except errors.RequestError as err:
            self.fail(err)
        except OSError as err:
            # QEMU's end of the socket pair broke: the reason is QEMU's to tell, through its monitor.
            log.debug("migration=%s the way ended: %s", self.attempt, err)

    def _io_error(self, device: str) -> None:
        self.fail(errors.OperationFailed(f"an I/O error of disk '{device}' ended the migration (--abort-on-error)"))

    async def _stop(self, outgoing: qemu.Outgoing, way: Way) -> None:
        """Make QEMU give up and wait until it has; what it says then changes nothing any more."""
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await outgoing.cancel()
                way.abort(str(self.cause))
                await outgoing.settled()
        except (errors.RequestError, TimeoutError) as err:
            log.warning(
                "domain=%s migration=%s QEMU did not confirm the cancel: %s", self.domain.name, self.attempt, err
            )

    async def _watch_deadline(self) -> None:
        if seconds := self.settings.deadline_seconds:
            await asyncio.sleep(max(0.0, self.record.started + seconds - time.monotonic()))
            self.fail(
                errors.OperationTimeout(
                    f"migration of domain '{self.domain.name}' was not done within {seconds:g} s and was cancelled"
                )
            )

    async def _watch_progress(self) -> None:
        if seconds := self.settings.stall_seconds:
            before = -1
            while before != (moved := await self._moved()):
                before = moved
                await asyncio.sleep(seconds)
            self.fail(
                errors.OperationTimeout(
                    f"migration of domain '{self.domain.name}': nothing went through the tunnel for {seconds:g} s"
                )
            )

    async def _moved(self) -> int:
        """Bytes on their way so far."""
        if self._way is not None and self._way.meter is not None:
            return self._way.meter.bytes
        return (await self.refreshed()).qemu.ram_transferred

    async def confirm(self, *, arrived: bool) -> None:
        """CONFIRM3: the guest runs at the destination, so the copy here goes; or it never will, so this one goes on.

        Raises ``OperationFailed`` when the guest here cannot be resumed; the text says what to do.
        """
        self.record.finish(
            JobType.COMPLETED if arrived else _job_type(self.cause),
            downtime=self._standstill(),
            error="" if arrived or self.cause is None else str(self.cause),
        )
        if arrived:
            await self.enter(Phase.CONFIRM3)
            await self.domain.kill(ShutoffReason.MIGRATED, StoppedDetail.MIGRATED)
            return
        await self.enter(Phase.CONFIRM3_CANCELLED)
        await self.run_on()

    async def run_on(self) -> None:
        """Let the guest go on here, if it ran before and only the migration has paused it."""
        if (
            self.was_running
            and not self.stays_paused
            and (self.domain.state, self.domain.reason)
            == (
                DomainState.PAUSED,
                PausedReason.MIGRATION,
            )
        ):
            await qemu.resume(self.domain, RunningReason.MIGRATION_CANCELED)
        if self.domain.is_active:
            await qemu.annotate(self.domain, ANNOTATION, "")

    @classmethod
    def left_behind(cls, domain: Domain, settings: Settings) -> Departure | None:
        """The migration that an earlier daemon had under way for ``domain``, in its last written phase."""
        words = domain.annotations.get(ANNOTATION, "").split(" ", 3)
        if len(words) != 4 or not domain.is_active:
            return None
        departure = cls(domain, Options(), settings)
        departure.phase, departure.attempt, departure.destination_uri = Phase(words[0]), words[1], words[3]
        departure.was_running = words[2] == "running"
        departure.record.step = STEPS[departure.phase]
        return departure

    async def take_back(self) -> None:
        """After a restart in PERFORM3: make QEMU give up, if it has not. The tunnel died with the earlier daemon."""
        with contextlib.closing(qemu.Outgoing(self.domain)) as outgoing:
            if (await outgoing.statistics()).status in qemu.UNSETTLED:
                await outgoing.cancel()
                async with asyncio.timeout(CANCEL_TIMEOUT):
                    await outgoing.settled()

    def _standstill(self) -> float | None:
        """Seconds since QEMU stopped the guest here: up to now, when the destination has just said that it runs."""
        stopped_at = self._outgoing.stopped_at if self._outgoing else None
        return None if stopped_at is None else time.monotonic() - stopped_at

    async def enter(self, phase: Phase) -> None:
        """Go on to ``phase``: written to the domain's status before anything is done in it."""
        self._advance(phase)
        await self._write_down(phase)

    def _advance(self, phase: Phase) -> None:
        """The one place where the phase changes."""
        self.phase = advance(self.phase, phase)
        self.record.step = STEPS[phase]
        if phase not in (Phase.CONFIRM3, Phase.CONFIRM3_CANCELLED):
            self.reached = phase
        log.info("domain=%s migration=%s phase=%s", self.domain.name, self.attempt, phase.value)

    async def _write_down(self, phase: Phase) -> None:
        if not self.domain.is_active:
            return
        before = "running" if self.was_running else "paused"
        try:
            await qemu.annotate(
                self.domain, ANNOTATION, f"{phase.value} {self.attempt} {before} {self.destination_uri}"
            )
        except errors.SystemCallError as err:
            if phase in (Phase.PERFORM3, Phase.PERFORM3_DONE):
                raise
            # It is decided already, and the decision must be carried out whether or not it can be written down.
            log.error("domain=%s migration=%s phase is not on the disk: %s", self.domain.name, self.attempt, err)


def _job_type(cause: errors.RequestError | None) -> JobType:
    return JobType.CANCELLED if isinstance(cause, errors.OperationAborted) else JobType.FAILED
