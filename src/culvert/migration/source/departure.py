"""One migration of a guest out of this host: the source's machine with its guest, its peer and its journal around it.

What happens when is in ``machine_source``; here is how each of its commands is done. Until the grant is handed out
the guest is the source's, and whatever goes wrong lets it run on here; from then on it stands still until the
destination, or an operator, has said what became of it.

What it is about is its ``Case``. What QEMU sends is its ``Transfer``, what is asked of the destination its
``Inquiry``, what is told of it is kept by its ``Account``; what it waits for is put into words by ``waiting``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Self

from culvert.ground import errors
from culvert.hypervisor.contract import Guest
from culvert.migration.convergence.budget import Budget
from culvert.migration.handover.machine import Do, Next, PeerKind, Step
from culvert.migration.handover.machine_source import FINAL, START, Event, State, table
from culvert.migration.journal.history import Begun, Direction, Entry, Key
from culvert.migration.journal.journal import Journal
from culvert.migration.options import grant
from culvert.migration.options.parameters import Options
from culvert.migration.options.settings import Settings
from culvert.migration.peers.peer import Dialler
from culvert.migration.progress import statistics
from culvert.migration.shell import Rules, Shell
from culvert.migration.source import guest_here, waiting
from culvert.migration.source.case import Case
from culvert.migration.source.inquiry import Inquiry
from culvert.migration.source.transfer import Transfer
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.protocol.constants_state import DomainState

log = logging.getLogger(__name__)

LAST_WORDS = 2.0  # seconds for QEMU to say how a post-copy went that has arrived

RULES = {peer: Rules("source", table(peer), FINAL, Event.UNWRITTEN) for peer in PeerKind}

_CANCELLABLE = (State.BEGIN3, State.PERFORM3)


class Departure(Case):
    """``Case``, under way. ``state``: where an earlier daemon has left it."""

    def __init__(
        self,
        begun: Begun,
        guest: Guest | None,
        options: Options,
        settings: Settings,
        *,
        dialler: Dialler,
        journal: Journal,
        budget: Budget | None = None,
        state: State = State.BEGIN3,
    ) -> None:
        super().__init__(begun, guest, options, settings, dialler=dialler, journal=journal, state=state)
        self.answerable = asyncio.Event()
        """Who asked for this migration can be told how it ended, or that only an operator can end it."""
        self.over = asyncio.Event()
        """Set when nothing more will be done about this migration."""
        self.disown: Callable[[], None] = lambda: None
        """Ends the care for the connection that drives this migration."""
        self._transfer = Transfer(self, budget or Budget())
        self._inquiry = Inquiry(self)
        self.shell = Shell(
            name=f"migration {self.attempt} of domain '{begun.name}'",
            rules=RULES[PeerKind.STOCK if begun.stock else PeerKind.CULVERT],
            state=state,
            write=self._write,
            acts={
                Do.PREPARE: self._prepare,
                Do.SEND: self._transfer.send,
                Do.SWITCH: self._transfer.switch,
                Do.RECOVER: self._transfer.recover,
                Do.STOP_SENDING: self._transfer.stop,
                Do.GRANT: self._grant,
                Do.CALL_OFF: self._call_off,
                Do.ASK: self._inquiry.ask,
                Do.RECALL: self._inquiry.recall,
                Do.WAIT: self._inquiry.wait,
                Do.RESUME: self._resume,
                Do.KILL: self._kill,
                Do.REPORT: self._report,
            },
            entered=self._entered,
            unwritten=self.cause.set,
        )

    @classmethod
    def of(
        cls,
        domain: Guest,
        destination: str,
        options: Options,
        settings: Settings,
        *,
        dialler: Dialler,
        journal: Journal,
        budget: Budget,
    ) -> Self:
        """A new migration of ``domain``."""
        begun = Begun(
            Key(secrets.token_hex(16), Direction.OUT),
            domain.name,
            str(domain.uuid),
            peer=destination,
            was_running=domain.state is DomainState.RUNNING,
            flags=int(options.flags),
            secret=grant.make(),
        )
        return cls(begun, domain, options, settings, dialler=dialler, journal=journal, budget=budget)

    @classmethod
    def left(
        cls,
        entry: Entry,
        state: State,
        guest: Guest | None,
        settings: Settings,
        *,
        dialler: Dialler,
        journal: Journal,
    ) -> Self:
        """The migration that an earlier daemon has left, to go on in ``state``."""
        options = Options(flags=MigrateFlag(entry.begun.flags))
        return cls(entry.begun, guest, options, settings, dialler=dialler, journal=journal, state=state)

    # -- what it is -----------------------------------------------------------------------------------------------

    @property
    def sends(self) -> bool:
        """Whether QEMU is under way, so that its limits can be changed."""
        return self._transfer.is_under_way

    @property
    def ends_by_itself(self) -> bool:
        """Whether it is about to end whatever the destination says."""
        cancelled = self.state in _CANCELLABLE and not self._transfer.is_done and self.cause.error is not None
        return cancelled or self.state in (State.CONFIRM3, State.CONFIRM3_CANCELLED)

    @property
    def description(self) -> str:
        """What occupies the domain (``hypervisor.contract.Job``)."""
        return f"migration out, {waits}" if (waits := self.waits_for) else "migration out"

    @property
    def waits_for(self) -> str:
        """What a guest that stands still here waits for; empty while it need not wait."""
        return waiting.words(self.begun, self.state, self.obstacle, self.hung)

    # -- what others may do at any time ---------------------------------------------------------------------------

    def fail(self, cause: errors.RequestError) -> None:
        """End this migration because of ``cause``; the first cause is the one that is reported.

        Does nothing as soon as everything is sent: from then on the destination decides.
        """
        if self.state in _CANCELLABLE and not self._transfer.is_done and self.cause.set(cause):
            log.info("%s fails in '%s': %s", self.shell.name, self.state.value, cause)

    def better(self, cause: errors.RequestError, *, than: tuple[type[errors.RequestError], ...]) -> None:
        """The other end says why it failed; that is told instead of what was only seen from here."""
        if isinstance(self.cause.error, than):
            self.cause.error = cause
            if self.record.ended is not None:
                self.record.error = str(cause)

    def cancel(self) -> None:
        """Who asked for the migration wants it no longer. Raises ``OperationInvalid`` when it is too late."""
        if self.state not in _CANCELLABLE or self._transfer.is_done:
            raise errors.OperationInvalid(
                f"migration of domain '{self.begun.name}' is in phase '{self.state.value}' and can no longer be "
                "aborted: the destination decides"
            )
        self.fail(errors.OperationAborted("migration out job: canceled by client"))

    async def limit(self, mib_per_second: int) -> None:
        """Send at most so much from now on; see ``Sending.limit``."""
        if self.account.sending is not None:
            await self.account.sending.limit(mib_per_second)

    @property
    def postcopy_limit(self) -> int | None:
        """``Sending.postcopy_limit`` of what is being sent."""
        return self.account.sending.postcopy_limit if self.sends and self.account.sending is not None else None

    async def limit_postcopy(self, mib_per_second: int) -> None:
        """``Sending.limit_postcopy``, where ``postcopy_limit`` is known."""
        if self.account.sending is not None:
            await self.account.sending.limit_postcopy(mib_per_second)

    async def refreshed(self) -> statistics.JobRecord:
        """The job's record with the latest figures."""
        return await self._transfer.refreshed()

    async def is_stock(self, where: str) -> None:
        """The destination at ``where`` is no culvert. Raises ``SystemCallError``; nothing has changed then."""
        await self.account.ledger.learn(peer=where, stock=True)
        self.begun = replace(self.begun, peer=where, stock=True)
        self.shell.rules = RULES[PeerKind.STOCK]

    async def met(self) -> None:
        """The destination is known, to those too who will ask it: ``destination_uri``. Raises as ``is_stock``."""
        await self.account.ledger.learn(peer=self.destination_uri)
        self.begun = replace(self.begun, peer=self.destination_uri)

    def hurry(self) -> None:
        """Somebody wants to know at once what is only asked for again after a while."""
        self._inquiry.hurry()

    # -- the life of it -------------------------------------------------------------------------------------------

    async def live(self, start: Next[State] = START) -> None:
        """Everything, from ``start`` to the end: what became of the guest is then known, and done."""
        async with asyncio.TaskGroup() as self.tasks:
            self.beside("QEMU ended?", self._watch_qemu())
            if start.state is State.SWITCHING:
                self.beside("sending", self._transfer.adopt())
            self.show()  # where an earlier daemon has left it no state is entered
            try:
                await self.shell.run(start)
            finally:
                self.end_beside()
                self.drop_data_path()
                if self.driving is not None:
                    await self.driving.close()

    def _entered(self, state: State) -> None:
        self._inquiry.entered(state)
        self.account.entered(state, self.doubt)
        self.show()
        if state is State.UNDECIDED:
            self.answerable.set()

    async def _watch_qemu(self) -> None:
        if self.guest is not None:
            await self.guest.exited.wait()
            self.fail(await self.guest.hypervisor.gone("source", EOFError("no more output")))
            if self.state in _CANCELLABLE and not self._transfer.is_done:
                self.heed_the_end()
        self.shell.feed(Event.QEMU_GONE)

    async def _write(self, step: Step) -> None:
        # Of a domain that is not on the list a definition may be here all the same, only not readable.
        await self.account.ledger.write(step, stays=self.guest is None or self.guest.is_persistent)

    # -- the commands ---------------------------------------------------------------------------------------------

    async def _prepare(self) -> Event:
        assert self.driving is not None, "a new migration is driven by somebody"
        try:
            await self._transfer.take(await self.driving.prepare())
        except errors.RequestError as err:
            self.cause.set(err if self.guest is None else await self.guest.hypervisor.behind("source", err))
            return Event.NOT_PREPARED
        return Event.PREPARED

    async def _grant(self) -> Event:
        assert self.driving is not None, "granted only while it is driven"
        return await self.driving.grant()

    async def _call_off(self) -> None:
        self.drop_data_path()
        if self.driving is not None:
            self.driving.call_off()

    async def _resume(self) -> Event:
        event, self.obstacle = await guest_here.resume(self.guest, was_running=self.begun.was_running)
        return event

    async def _last_words(self) -> None:
        """The destination of a post-copy says that it has the last page before QEMU here has done its sums, which are
        the figures of the job."""
        if self.account.sending is not None and self.account.reached is State.POSTCOPY and not self.rescue.path_lost:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await self.account.sending.over.wait()

    async def _kill(self) -> Event:
        await self._last_words()
        event, self.obstacle = await guest_here.kill(self.guest)
        return event

    async def _report(self) -> None:
        """Show what is being waited for."""
        self.show()
        text = self.waits_for or (self.obstacle if self.state in (State.CONFIRM3, State.CONFIRM3_CANCELLED) else "")
        if self.state is State.RETURNED or self.hung:
            self.answerable.set()
        if text and text != self.record.error:
            self.record.error = text
            log.warning("%s: %s", self.shell.name, text)
            await self.account.ledger.note(text)
