"""One migration of a guest into this host: prepare, carry and finish, the destination's steps.

Until ``finish`` the guest belongs to the source: whatever goes wrong, the incoming QEMU is killed and the source is
told why. The point of no return is one line of ``_take_over``, and it is marked. An attempt that was given up here
can never be finished any more: its record says ``GONE`` from then on, whoever asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from culvert.drivers.qemu import migration as qemu
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.migration import Entrance, Setup
from culvert.ground import errors
from culvert.io.detached import Detached
from culvert.migration import statistics
from culvert.migration.cookie import Cookie
from culvert.migration.landing import Landing
from culvert.migration.lifeline import Lifeline
from culvert.migration.outcomes import Outcomes, Word
from culvert.migration.parameters import Options
from culvert.migration.phases import STEPS, Phase, advance
from culvert.migration.route import Route
from culvert.migration.settings import Settings
from culvert.migration.ticket import Gate
from culvert.protocol.constants import DomainEvent as Event
from culvert.protocol.constants import (
    DomainState,
    JobOperation,
    JobType,
    MigrateFlag,
    PausedReason,
    RunningReason,
    ShutoffReason,
    StoppedDetail,
    SuspendedDetail,
)
from culvert.protocol.culvert import Outcome
from culvert.rpc.stream import Stream
from culvert.tunnel import relay

log = logging.getLogger(__name__)

Spawn = Callable[[str, Coroutine[Any, Any, Any]], object]

LOAD_TIMEOUT = 300.0  # seconds QEMU may take over what it has already been given
EXIT_TIMEOUT = 5.0  # seconds for a QEMU that failed to load to say why and end
ANNOTATION = "migration.in"  # in the domain's status, until it has arrived: the attempt
NAMELESS = "-"  # the attempt of a source that is no culvert


class Arrival:
    """``attempt`` is the source's name for the migration; ``gate`` knows who may attach data to it.

    ``spawn`` runs what outlives a call. ``lifeline`` is held by those who show that the source is still there.
    """

    def __init__(
        self,
        domain: Domain,
        options: Options,
        cookie: Cookie,
        *,
        gate: Gate,
        outcomes: Outcomes,
        settings: Settings,
        spawn: Spawn,
        abandoned: Callable[[], object],
    ) -> None:
        self.domain = domain
        self.options = options
        self.cookie = cookie
        self.gate = gate
        self.lifeline = Lifeline(abandoned)
        self._outcomes = outcomes
        self._settings = settings
        self._spawn = spawn
        self._landing: Landing | None = None
        self.attempt = cookie.attempt
        self.phase = Phase.PREPARE
        self.outcome = Outcome.PENDING
        self.cause: errors.RequestError | None = None
        self.record = statistics.Record(operation=JobOperation.MIGRATION_IN, type=JobType.UNBOUNDED)
        self.meter = relay.Meter()
        self._incoming: qemu.Incoming | None = None
        self._ours: socket.socket | None = None
        self._attached = False
        self.unexpected = asyncio.Event()
        """Set as soon as the data has its way, or none will come any more."""
        self._over = asyncio.Event()
        self.disown: Callable[[], None] = lambda: None
        """Ends the care for the connection that prepared this migration."""

    @property
    def description(self) -> str:
        """What occupies the domain (``drivers.qemu.domain.Job``)."""
        return "migration in"

    async def open(self) -> None:
        """Everything is ready for the data to come, by ``carry`` or by ``take``."""
        await qemu.annotate(self.domain, ANNOTATION, self.attempt or NAMELESS)
        self._incoming = qemu.Incoming(self.domain)

    async def take(self, connection: socket.socket) -> None:
        """QEMU reads from ``connection`` itself, and answers on it; the caller closes its own copy.

        Raises ``OperationFailed`` with QEMU's words, ``InvalidStream`` for a second way; then the attempt is over.
        """
        self._attach(Route.DIRECT)
        try:
            await self._start(connection, self.options.setup(return_path=True))
        except errors.RequestError as err:
            await self._broke(err)
            raise

    async def carry(self, stream: Stream) -> None:
        """Pass the stream on to QEMU; returns when QEMU has loaded all of it, so that the stream's finish means that.

        Raises what went wrong, in QEMU's words where QEMU has some, and ``InvalidStream`` for a second way; the
        attempt is then over.
        """
        self._attach(Route.STREAM)
        try:
            self._ours, theirs = relay.channel()
            with theirs:
                await self._start(theirs, self.options.setup())
            await self._relay(stream, self._ours)
        except errors.RequestError as err:
            await self._broke(err)
            raise

    async def expect(self, channel: int, attempt: int) -> int:
        """Make ready for ``channel`` of the pump route: how many bytes have come by it so far.

        Raises ``InvalidStream`` for a channel that was not prepared, or a way of another kind; and when the first
        one cannot be joined with QEMU, why not: then the attempt is over.
        """
        if self._landing is None:
            self._attach(Route.PUMP)
            self._landing = Landing(
                f"migration {self.attempt} of domain '{self.domain.name}'",
                self.lifeline,
                setup=self.options.setup(return_path=True),
                limits=self._settings.pump,
                directory=self.domain.require_active().runtime,
                spawn=self._spawn,
                broken=self._broke,
            )
            self._spawn(f"migration {self.attempt}: QEMU ended?", self._watch_qemu())
            self.lifeline.patience = self._settings.reattach_seconds
        try:
            return await self._landing.expect(channel, attempt, self._start)
        except errors.InvalidStream:
            raise
        except errors.RequestError as err:
            await self._broke(err)
            raise

    async def join(self, channel: int, attempt: int, connection: Detached, peer_received: int) -> None:
        """``connection`` is what ``expect`` has made ready for; see ``Landing.attach``."""
        assert self._landing is not None, "expected before it is joined"
        try:
            await self._landing.attach(channel, attempt, connection, peer_received)
        except errors.RequestError as err:
            await self._broke(err)

    async def _watch_qemu(self) -> None:
        """A pump does not tell a QEMU that is through from one that has died."""
        if (cause := await self._ended()) is not None:
            await self._broke(cause)

    def _attach(self, route: Route) -> None:
        if self._attached:
            raise errors.InvalidStream(f"migration of domain '{self.domain.name}' has its data path already")
        self._attached = True
        self.record.route = route.value
        self.record.channels = self.options.connections + 1
        self.unexpected.set()

    async def _start(self, entrance: Entrance, setup: Setup) -> None:
        assert self._incoming is not None, "opened before anything is attached"
        await self._incoming.start(entrance, setup, continued=not self.options.has(MigrateFlag.PAUSED))

    async def _broke(self, cause: errors.RequestError) -> None:
        # Once finish has begun, it alone decides: it sees for itself what QEMU has got.
        if self.phase is Phase.PREPARE:
            await self.give_up(cause)
        elif self._ours is not None:
            # QEMU must not wait for the rest of it: what it has read is all it will get.
            with contextlib.suppress(OSError):
                self._ours.shutdown(socket.SHUT_RDWR)

    async def why_cancelled(self) -> errors.RequestError | None:
        """The reason on this side, where there is one, when the source cancels: QEMU could not load, or has ended."""
        if self.cause is None and self._attached and self._incoming is not None and await self._incoming.failed():
            return await self._qemu_says(EOFError("no more output"))
        return self.cause

    async def _relay(self, stream: Stream, ours: socket.socket) -> None:
        """Relay until the end of the stream or of QEMU, whichever comes first."""
        async with asyncio.TaskGroup() as tasks:
            moving = tasks.create_task(self._move(stream, ours), name=f"migration {self.attempt}: relay")
            ending = tasks.create_task(self._ended(), name=f"migration {self.attempt}: QEMU ended?")
            await asyncio.wait({moving, ending}, return_when=asyncio.FIRST_COMPLETED)
            moving.cancel()
            ending.cancel()
        if not ending.cancelled() and (ended := ending.result()) is not None:
            raise ended
        if (error := moving.result()) is not None:
            raise error
        await self._loaded()

    async def _move(self, stream: Stream, ours: socket.socket) -> errors.RequestError | None:
        try:
            await relay.inward(stream, ours, self.meter)
        except errors.RequestError as err:
            return err
        except OSError as err:
            return await self._qemu_says(err)
        return None

    async def _qemu_says(self, seen: Exception) -> errors.RequestError:
        """QEMU's own words for what was ``seen`` at its socket: it writes the reason and exits."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXIT_TIMEOUT):
                await self.domain.exited.wait()
        return qemu.process_gone(self.domain, "destination", seen)

    async def _ended(self) -> errors.RequestError | None:
        """Wait for the end of this attempt by other means than its data: why, or ``None`` for a good end."""
        async with asyncio.TaskGroup() as tasks:
            waits = {
                tasks.create_task(self.domain.exited.wait(), name=f"migration {self.attempt}: exited"),
                tasks.create_task(self._over.wait(), name=f"migration {self.attempt}: over"),
            }
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        if self.outcome is Outcome.RUNNING:
            return None
        return self.cause or qemu.process_gone(self.domain, "destination", EOFError("no more output"))

    async def _loaded(self) -> None:
        assert self._incoming is not None, "opened before anything is carried"
        try:
            async with asyncio.timeout(LOAD_TIMEOUT):
                status = await self._incoming.settled()
        except TimeoutError:
            raise errors.OperationTimeout(
                f"domain '{self.domain.name}': QEMU did not load what it was given within {LOAD_TIMEOUT:g} s"
            ) from None
        if status != "completed":
            # QEMU writes the reason and exits; its text is the answer that helps.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXIT_TIMEOUT):
                    await self.domain.exited.wait()
        await self._incoming.loaded()

    async def finish(self) -> None:
        """FINISH3: the guest runs here on return (or is paused, where that was asked), and never again at the source.

        Raises why not; then the incoming QEMU is gone and the source may go on.
        """
        self._enter(Phase.FINISH3)
        try:
            if self.cause is not None:
                raise self.cause
            if not self._attached:
                raise errors.OperationInvalid(
                    f"migration of domain '{self.domain.name}' cannot be finished: no data was ever sent"
                )
            await self._loaded()
            if self._landing is not None:
                self._landing.finishing()
            await self._take_over()
        except errors.RequestError as err:
            await self.give_up(err)
            raise

    async def _take_over(self) -> None:
        if not self.attempt and not self.lifeline.held:
            # No culvert would ask what became of it: a libvirtd that loses finish's answer resumes its copy.
            raise errors.ConnectionLost("the source is a libvirtd, and its connection was lost before the guest ran")
        await self._outcomes.put(self.attempt, Word.FINISHING, self.domain.name)
        if self.options.has(MigrateFlag.PAUSED):
            self.outcome = Outcome.RUNNING
            self.domain.set_state(DomainState.PAUSED, PausedReason.USER, (Event.SUSPENDED, SuspendedDetail.PAUSED))
        else:
            # The point of no return: once QEMU has taken this command the guest is this host's.
            await qemu.resume(self.domain, RunningReason.MIGRATED)
            self.outcome = Outcome.RUNNING
        self.close()
        self.record.finish(JobType.COMPLETED)
        try:
            await self._outcomes.put(self.attempt, Word.RUNNING, self.domain.name)
            await qemu.annotate(self.domain, ANNOTATION, "")
        except errors.SystemCallError as err:
            # The guest is here; that it could not be written down changes nothing about that.
            log.error("domain=%s migration=%s arrival is not on the disk: %s", self.domain.name, self.attempt, err)
        log.info("domain=%s migration=%s arrived", self.domain.name, self.attempt)

    async def give_up(self, cause: errors.RequestError) -> None:
        """This attempt will never run here: kill what came in. The first cause is kept. Idempotent.

        Does nothing once the guest has arrived.
        """
        if self.outcome is Outcome.RUNNING:
            return
        if self.cause is None:
            log.info("domain=%s migration=%s given up: %s", self.domain.name, self.attempt, cause)
            self.cause = cause
        self.outcome = Outcome.GONE
        self._over.set()
        self.unexpected.set()
        if self._landing is not None:
            self._landing.abort(str(self.cause))
        self.close()
        self.record.finish(JobType.FAILED, error=str(self.cause))
        await self.domain.kill(ShutoffReason.FAILED, StoppedDetail.FAILED)

    def close(self) -> None:
        """Let go of the tunnel and of QEMU's events. Idempotent."""
        self._over.set()
        self.lifeline.cut()
        if self._incoming is not None:
            self._incoming.close()
        if self._landing is not None:
            self._landing.close()
        if self._ours is not None:
            relay.release(self._ours)
        if self.domain.job is self:
            self.domain.job = None

    def _enter(self, phase: Phase) -> None:
        """The one place where the phase changes."""
        self.phase = advance(self.phase, phase)
        log.info("domain=%s migration=%s phase=%s", self.domain.name, self.attempt, phase.value)

    def refreshed(self) -> statistics.Record:
        """The job's record as it is now."""
        self.record.tunnel_bytes = (self._landing or self).meter.bytes
        self.record.step = STEPS[self.phase]
        return self.record
