"""Where the data of an arriving guest comes in: by the stream, by a connection of QEMU's own, or by channels.

It feeds QEMU and tells when something has broken; what is done then is the machine's to decide.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from culvert.channels.landing import Landing
from culvert.channels.lifeline import Lifeline
from culvert.channels.plan import Channel, ChannelPlan
from culvert.channels.route import Route
from culvert.channels.ticket import Gate
from culvert.channels.work import either
from culvert.ground import errors
from culvert.hypervisor.contract import Guest
from culvert.hypervisor.setup import Entrance, Setup
from culvert.io.detached import Detached
from culvert.migration.options.parameters import Options
from culvert.migration.options.settings import Settings
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.rpc.stream import Stream
from culvert.tunnel import relay

log = logging.getLogger(__name__)

Spawn = Callable[[str, Coroutine[Any, Any, Any]], object]

LOAD_TIMEOUT = 300.0  # seconds QEMU may take over what it has already been given


class Intake:
    """For ``domain``, whose QEMU waits. ``gate`` knows who may attach data; ``lifeline`` is held by those who show
    that the source is still there. ``attaching`` is done before QEMU gets its data path; ``spawn`` runs what outlives
    a call; ``broken`` is told what has broken. ``adopted``: an earlier daemon has given QEMU its data path."""

    def __init__(
        self,
        name: str,
        domain: Guest,
        options: Options,
        settings: Settings,
        *,
        gate: Gate,
        spawn: Spawn,
        attaching: Callable[[], Awaitable[None]],
        broken: Callable[[errors.RequestError], None],
        abandoned: Callable[[], object],
        adopted: bool = False,
    ) -> None:
        self.name = name
        self.domain = domain
        self.gate = gate
        self.lifeline = Lifeline(abandoned)
        self.incoming = domain.hypervisor.incoming()
        self.route = Route.DIRECT.value if adopted else ""
        self.unexpected = asyncio.Event()
        """Set as soon as the data has its way, or none will come any more."""
        self.without_postcopy = ""
        """Why post-copy, which was not insisted on, cannot be had."""
        self._options = options
        self._settings = settings
        self._spawn = spawn
        self._broken = broken
        self._attaching = attaching
        self._abandoned = abandoned
        self._recovering = False
        self._pausing = False
        self._meter = relay.Meter()
        self._landing: Landing | None = None
        self._ours: socket.socket | None = None
        self._settled = False
        self._over = asyncio.Event()
        self._arrived = False

    @property
    def plan(self) -> ChannelPlan:
        """The channels that the way has."""
        return ChannelPlan.of(self._options.setup(return_path=self.route != Route.STREAM.value))

    @property
    def meter(self) -> relay.Meter:
        """The guest's bytes that have come through here; none where QEMU has the connection itself."""
        return self._landing.meter if self._landing is not None else self._meter

    @property
    def sign(self) -> object:
        """Changes when anything is heard of the source."""
        return (self.route, self.meter.bytes, self._settled)

    @property
    def may_have_begun(self) -> bool:
        """Whether the source may have begun to send: it does so only when it has all of its way."""
        return self._landing.is_whole if self._landing is not None else bool(self.route)

    @property
    def is_busy(self) -> bool:
        """Whether QEMU hears the source by itself, so that nothing of it can be seen here."""
        return self.route == Route.DIRECT.value and not self._settled

    async def make_ready(self) -> Options:
        """Have QEMU refuse now what it would refuse when the data comes. Raises ``OperationUnsupported``.

        Answers with the options that it is then: without post-copy where that cannot be had and need not.
        """
        if self._options.postcopy:
            try:
                await self.incoming.prepare(self._options.setup(return_path=True), continued=True)
            except errors.OperationUnsupported as err:
                if not self._options.optional:
                    raise
                log.info("%s: without post-copy: %s", self.name, err)
                self.without_postcopy = str(err)
                self._options = self._options.without_postcopy()
        return self._options

    # -- the three ways -------------------------------------------------------------------------------------------

    async def take(self, connection: socket.socket) -> None:
        """QEMU reads from ``connection`` itself, and answers on it; the caller closes its own copy.

        Raises ``OperationFailed`` with QEMU's words, ``InvalidStream`` for a second way; then the attempt is over.
        """
        self._attach(Route.DIRECT)
        # One descriptor has no room for it; who drives a migration by a client's calls knows the route only now.
        self._options = replace(self._options, preempt=False)
        try:
            await self._start(connection, self._options.setup(return_path=True))
        except errors.RequestError as err:
            self._broke(err)
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
                await self._start(theirs, self._options.setup())
            await self._relay(stream, self._ours)
        except errors.RequestError as err:
            self._broke(err)
            raise

    async def expect(self, channel: Channel, attempt: int) -> tuple[Landing, int]:
        """Make ready for ``channel`` of the pump route: where it is joined, how many bytes have come by it so far.

        Raises ``InvalidStream`` for a channel that was not prepared, or a way of another kind; and when the first
        one cannot be joined with QEMU, why not: then the attempt is over.
        """
        if self._landing is None:
            self._attach(Route.PUMP)
            self._landing = Landing(
                self.name,
                self.lifeline,
                setup=self._options.setup(return_path=True),
                limits=self._settings.pump,
                directory=self.domain.runtime,
                spawn=self._spawn,
                broken=self._broke,
                recovering=self._recovering,
            )
            self.lifeline.patience = self._settings.reattach_seconds
        landing = self._landing
        try:
            return landing, await landing.expect(channel, attempt, self._start)
        except errors.InvalidStream:
            raise
        except errors.RequestError as err:
            self._broke_at(landing, err)
            raise

    async def join(
        self, landing: Landing, channel: Channel, attempt: int, connection: Detached, peer_received: int
    ) -> None:
        """``connection`` is what ``expect`` has made ready for at ``landing``; see ``Landing.attach``.

        Another way may have been opened since, which this has nothing to do with.
        """
        try:
            await landing.attach(channel, attempt, connection, peer_received)
        except errors.RequestError as err:
            self._broke_at(landing, err)

    def _broke_at(self, landing: Landing, cause: errors.RequestError) -> None:
        if landing is self._landing:
            self._broke(cause)

    def _attach(self, route: Route) -> None:
        if self.route or self._over.is_set():
            raise errors.InvalidStream(f"{self.name} has its data path already")
        self.route = route.value
        self.unexpected.set()

    async def _start(self, entrance: Entrance, setup: Setup) -> None:
        if self._recovering:
            self._pausing = True
            try:
                await self.incoming.recover(entrance)
            finally:
                self._pausing = False
            return
        await self._attaching()
        await self.incoming.start(entrance, setup, continued=not self._options.has(MigrateFlag.PAUSED))

    def _broke(self, cause: errors.RequestError) -> None:
        if self._ours is not None:
            # QEMU must not wait for the rest of it: what it has read is all it will get.
            with contextlib.suppress(OSError):
                self._ours.shutdown(socket.SHUT_RDWR)
        self._broken(cause)

    # -- the stream -----------------------------------------------------------------------------------------------

    async def _relay(self, stream: Stream, ours: socket.socket) -> None:
        """Relay until the end of the stream or of QEMU, whichever comes first."""
        async with asyncio.TaskGroup() as tasks:
            moving = tasks.create_task(self._move(stream, ours), name=f"{self.name}: relay")
            ending = tasks.create_task(self._ended(), name=f"{self.name}: QEMU ended?")
            await asyncio.wait({moving, ending}, return_when=asyncio.FIRST_COMPLETED)
            moving.cancel()
            ending.cancel()
        if not ending.cancelled() and (ended := ending.result()) is not None:
            raise ended
        if (error := moving.result()) is not None:
            raise error
        await self._settle()

    async def _move(self, stream: Stream, ours: socket.socket) -> errors.RequestError | None:
        try:
            await relay.inward(stream, ours, self._meter)
        except errors.RequestError as err:
            return err
        except OSError as err:
            return await self._qemu_says(err)
        return None

    async def _qemu_says(self, seen: Exception) -> errors.RequestError:
        """QEMU's own words for what was ``seen`` at its socket: its text is the answer that helps."""
        return await self.incoming.why(seen)

    async def _ended(self) -> errors.RequestError | None:
        """Wait for the end of this attempt by other means than its data: why, or ``None`` for a good end."""
        await either(self.domain.exited, self._over)
        if self._arrived:
            return None
        return await self._qemu_says(EOFError("no more output"))

    # -- the end --------------------------------------------------------------------------------------------------

    async def loaded(self) -> None:
        """Wait until QEMU has everything. Raises ``OperationFailed`` with its words, ``OperationInvalid`` when no
        data was ever sent."""
        if not self.route:
            raise errors.OperationInvalid(f"{self.name} cannot be finished: no data was ever sent")
        await self._settle()
        if self._landing is not None:
            self._landing.finishing()
        await self.drained()

    async def drained(self) -> None:
        """Where the guest runs already, QEMU's last words have gone to the source on return, if that can be had."""
        if self._landing is not None and self.incoming.switched:
            await self._landing.drained()

    async def _settle(self) -> None:
        await self.incoming.look()  # what an adopted QEMU has said before
        try:
            # In post-copy the guest runs meanwhile, and the last page may take as long as it takes.
            async with asyncio.timeout(None if self._options.postcopy else LOAD_TIMEOUT):
                status = await self.incoming.settled()
                self._settled = True
        except TimeoutError:
            raise errors.OperationTimeout(
                f"domain '{self.domain.name}': QEMU did not load what it was given within {LOAD_TIMEOUT:g} s"
            ) from None
        if status != "completed":
            raise await self._qemu_says(EOFError("no more output"))

    async def why_cancelled(self) -> errors.RequestError | None:
        """The reason on this side, where there is one, when the source cancels: QEMU could not load, or has ended."""
        if self.route and await self.incoming.failed():
            return await self._qemu_says(EOFError("no more output"))
        return None

    def paused(self) -> None:
        """QEMU stands still in post-copy: its way is of no use any more, unless it was paused for a new one."""
        if not self._pausing:
            self.let_go("QEMU waits for another data path")

    def let_go(self, reason: str) -> None:
        """The way is of no use any more: QEMU sees its end, and says what that means to it. Idempotent."""
        if self._landing is not None:
            self._landing.abort(reason)

    def reopen(self, gate: Gate, *, preempt: bool) -> None:
        """Another way for a post-copy that has lost its own, opened by ``gate``; ``preempt``: with that channel."""
        self._options = replace(self._options, preempt=preempt)
        self.let_go("another data path is opened")
        self.gate, self._landing, self.route, self._recovering = gate, None, "", True
        self.lifeline = Lifeline(self._abandoned)

    def abort(self, reason: str) -> None:
        """Nothing will come of it: tell the source, wake QEMU. Idempotent."""
        if self._landing is not None:
            self._landing.abort(reason)
        self.close(arrived=False)

    def close(self, *, arrived: bool) -> None:
        """Let go of everything. Idempotent."""
        self._arrived = self._arrived or arrived
        self._over.set()
        self.unexpected.set()
        self.lifeline.cut()
        self.incoming.close()
        if self._landing is not None:
            self._landing.close()
        if self._ours is not None:
            relay.release(self._ours)
