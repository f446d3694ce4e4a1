"""One migration of a guest out of this host: the source's machine with its guest, its peer and its journal around it.

What happens when is in ``machine_source``; here is how each of its commands is done. Until the grant is handed out
the guest is the source's, and whatever goes wrong lets it run on here; from then on it stands still until the
destination, or an operator, has said what became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from culvert.channels.way import Way
from culvert.ground import errors
from culvert.hypervisor.status import PAUSED
from culvert.migration.convergence import policy
from culvert.migration.convergence.autopilot import Autopilot
from culvert.migration.handover.machine import Do, Next
from culvert.migration.handover.machine_source import START, Event, State
from culvert.migration.source import ask, guest_here
from culvert.migration.source.cause import Cause
from culvert.migration.source.departure_core import Acts, DepartureCore
from culvert.migration.source.sending import Sending

log = logging.getLogger(__name__)

LAST_WORDS = 2.0  # seconds for QEMU to say how a post-copy went that has arrived
ASK_AGAIN = (0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between two tries; the last one repeats


class Departure(DepartureCore):
    """A departure with everything that its machine does."""

    _way: Way | None = None
    _before: Mapping[str, int] = MappingProxyType({})
    _tasks: asyncio.TaskGroup | None = None

    def _acts(self) -> Acts:
        return {
            Do.PREPARE: self._prepare,
            Do.SEND: self._send,
            Do.SWITCH: self._switch,
            Do.RECOVER: self._recover,
            Do.STOP_SENDING: self._stop_sending,
            Do.GRANT: self._grant,
            Do.CALL_OFF: self._call_off,
            Do.ASK: self._ask,
            Do.WAIT: self._wait,
            Do.RESUME: self._resume,
            Do.KILL: self._kill,
            Do.REPORT: self._report,
        }

    # -- the life of it -------------------------------------------------------------------------------------------

    async def live(self, start: Next[State] = START) -> None:
        """Everything, from ``start`` to the end: what became of the guest is then known, and done."""
        async with asyncio.TaskGroup() as self._tasks:
            self.beside("QEMU ended?", self._watch_qemu())
            if start.state is State.SWITCHING:
                self.beside("sending", self._adopt())
            try:
                await self.shell.run(start)
            finally:
                for task in self._beside:
                    task.cancel()
                self._drop_way()
                if self.driving is not None:
                    await self.driving.close()

    def beside(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        """Have ``work`` done meanwhile; it ends with this migration."""
        assert self._tasks is not None, "it lives"
        self._beside.append(self._tasks.create_task(work, name=f"{self.shell.name}: {name}"))

    async def _watch_qemu(self) -> None:
        if self.guest is not None:
            await self.guest.exited.wait()
            self.fail(self.guest.hypervisor.gone("source", EOFError("no more output")))
        self.shell.feed(Event.QEMU_GONE)

    # -- the commands ---------------------------------------------------------------------------------------------

    async def _prepare(self) -> Event:
        assert self.driving is not None, "a new migration is driven by somebody"
        try:
            self._way = way = await self.driving.prepare()
            self._before = await self.domain.hypervisor.personal(way.setup)
        except errors.RequestError as err:
            self.cause.set(err)
            return Event.NOT_PREPARED
        return Event.PREPARED

    async def _send(self) -> Event:
        assert self._way is not None, "prepared before it is sent"
        way, self._way = self._way, None
        flying = self._fly()
        try:
            event = await self._sent_by(self._new_sending().run(way))
            if event is Event.NOT_SENT:
                with contextlib.suppress(errors.RequestError):  # then QEMU is no more
                    await self.domain.hypervisor.put_back(self._before, way.setup)
            return event
        finally:
            if flying is not None:
                flying.cancel()

    @property
    def _flown(self) -> bool:
        """Whether somebody looks after how it goes on."""
        return self.auto or self.options.postcopy

    def _fly(self) -> asyncio.Task[NoReturn] | None:
        if not self._flown or self._tasks is None:
            return None

        async def switch() -> None:
            await self.shell.ask(Event.SWITCH)

        rows, name = (policy.AUTO, "auto") if self.auto else (policy.ARMED, "post-copy")
        may = switch if self.options.postcopy else None
        pilot = Autopilot(
            *(self.domain.hypervisor, self.refreshed),
            switch=may,
            note=lambda said: self.note(f"{name}: {said}"),
            floor=self.settings.auto_floor,
            rows=rows,
        )
        course = self.record.course
        if self.options.postcopy:
            course.armed = not self.auto
        if self.options.postcopy and self.auto:
            course.switches_from, course.switches_short = policy.ROUNDS, policy.SHORT
        return self._tasks.create_task(pilot.run(), name=f"{self.shell.name}: autopilot")

    def note(self, text: str) -> None:
        """Tell people of something that was decided: in the log and in the history."""
        log.info("%s: %s", self.shell.name, text)
        if self._tasks is not None:
            self._tasks.create_task(self.ledger.note(text), name=f"{self.shell.name}: note")

    def _new_sending(self, *, again: bool = False) -> Sending:
        # Why one way was lost is no reason to lose the next one.
        self._sending = Sending(
            *(self.shell.name, self.domain, self.options, self.settings),
            cause=Cause(self.shell.name) if again else self.cause,
            record=self.record,
            budget=self._budget,
            switched=self._switched,
            brief=self._flown,
        )
        return self._sending

    async def _sent_by(self, sending: Awaitable[str]) -> Event:
        """What the end of ``sending`` means."""
        try:
            status = await sending
        except errors.RequestError as err:
            if self.state not in (State.POSTCOPY, State.POSTCOPY_FAILED):
                return Event.NOT_SENT
            self.obstacle, status = str(err), PAUSED
        if status != "completed":
            self._way_lost = True
            return Event.BROKEN if status == PAUSED else Event.NOT_SENT
        self._sent = True
        return Event.SENT

    def _switched(self) -> None:
        if self.state is State.SWITCHING:
            self.shell.feed(Event.SWITCHED)

    async def _adopt(self) -> None:
        self.shell.feed(await self._sent_by(self._new_sending(again=True).adopt()))

    async def _switch(self) -> None:
        """Only QEMU says what comes of it: it may be through with its pre-copy already."""
        if self._sending is not None:
            try:
                await self._sending.switch()
            except errors.RequestError as err:
                log.warning("%s: QEMU does not go over to post-copy: %s", self.shell.name, err)

    async def _recover(self) -> None:
        way, self._way = self._way, None
        if way is not None and self._tasks is not None:
            self._way_lost = False
            self._tasks.create_task(self._resend(way), name=f"{self.shell.name}: sending again")

    async def _resend(self, way: Way) -> None:
        self.shell.feed(await self._sent_by(self._new_sending(again=True).run(way, again=True)))

    def hurry(self) -> None:
        """Somebody wants to know at once what is only asked for again after a while."""
        self._wake.set()

    async def _stop_sending(self) -> None:
        """What this daemon began is over when it says so; an earlier one may have left more."""
        self._drop_way()
        if self.guest is not None:
            await guest_here.stop_sending(self.guest)

    def _drop_way(self) -> None:
        if self._way is not None:
            self._way.abort(str(self.cause.error))
            self._way.close()
            self._way = None

    async def _grant(self) -> Event:
        assert self.driving is not None, "granted only while it is driven"
        return await self.driving.grant()

    async def _call_off(self) -> None:
        self._drop_way()
        if self.driving is not None:
            self.driving.call_off()

    async def _ask(self) -> Event:
        event, detail = await ask.word(self.destination_uri, self.on_wire, self.attempt, self.settings)
        self.obstacle = detail or event.value
        if event is Event.WORD_GONE:
            # What the destination has answered itself says more than that it has nothing.
            refused = self.doubt if isinstance(self.doubt, errors.RemoteError) else None
            self.cause.set(refused or errors.OperationFailed(detail or str(self.doubt)))
        has_ended = self.guest is None or not self.guest.is_active
        if event is Event.WORD_LOST and has_ended:
            self.obstacle = "its QEMU has ended on both hosts: it is lost"
        if event is Event.WORD_POSTCOPY and self.state in (State.POSTCOPY_FAILED, State.UNDECIDED):
            if has_ended:
                self.obstacle = "its QEMU has ended here, and with it what the guest there still needs: it is lost"
                return Event.WORD_LOST
            if self.state is State.POSTCOPY_FAILED:
                return await self._rescued()
        return event

    async def _rescued(self) -> Event:
        """The destination is there again, and its half of the guest waits for the other one."""
        if self.rescue is None:
            return Event.WORD_POSTCOPY
        driving = self.driving = self.rescue()
        if not self._way_lost:
            # Only the answer to the grant is lost: it is granted again, but not over and over.
            return Event.RECOVER if self._tries else Event.WORD_POSTCOPY
        try:
            self._way = await driving.reopen()
        except errors.RequestError as err:
            self.obstacle = f"its post-copy cannot be taken up again: {err}"
            return Event.WORD_POSTCOPY
        self.record.interruptions += 1
        return Event.RECOVER

    async def _wait(self) -> Event:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASK_AGAIN[min(self._tries, len(ASK_AGAIN) - 1)]):
                await self._wake.wait()
        self._wake.clear()
        self._tries += 1
        return Event.TICK

    async def _resume(self) -> Event:
        event, self.obstacle = await guest_here.resume(self.guest, was_running=self.begun.was_running)
        return event

    async def _last_words(self) -> None:
        """The destination of a post-copy says that it has the last page before QEMU here has done its sums, which are
        the figures of the job."""
        if self._sending is not None and self.reached is State.POSTCOPY and not self._way_lost:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await self._sending.over.wait()

    async def _kill(self) -> Event:
        if self.guest is not None:
            # Before the copy goes: a host that dies now must not start the guest anew with its next boot.
            await self.guest.set_left(self.begun.peer or self.destination_uri)
        await self._last_words()
        event, self.obstacle = await guest_here.kill(self.guest)
        return event

    async def _report(self) -> None:
        """Show what is being waited for."""
        text = self.waits_for or (self.obstacle if self.state in (State.CONFIRM3, State.CONFIRM3_CANCELLED) else "")
        if text and text != self.record.error:
            self.record.error = text
            log.warning("%s: %s", self.shell.name, text)
            await self.ledger.note(text)
