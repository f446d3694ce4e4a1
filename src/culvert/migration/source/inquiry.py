"""Asking the destination what became of the guest, until it is known; a lost post-copy goes on by its answer."""

from __future__ import annotations

import asyncio
import contextlib

from culvert.ground import errors
from culvert.hypervisor.status import GIVEN_UP
from culvert.migration.handover.machine_source import Event, State
from culvert.migration.source import ask, rescue
from culvert.migration.source.case import Case
from culvert.migration.source.driving import Rescuing

ASK_AGAIN = (0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between two tries; the last one repeats


class Inquiry:
    """Of ``case``."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._tries = 0
        self._tried_here = 0
        self._went_on_at = 0.0
        self._wake = asyncio.Event()

    def entered(self, state: State) -> None:
        """The machine is in ``state``: what is tried there is tried for the first time.

        A post-copy that does not go on for long when it is taken up again is tried again as seldom as before.
        """
        now = asyncio.get_running_loop().time()
        if state is State.POSTCOPY:
            self._went_on_at = now
            return
        self._tried_here = 0
        if state is not State.POSTCOPY_FAILED or now - self._went_on_at >= ASK_AGAIN[-1]:
            self._tries = 0

    @property
    def pause(self) -> float:
        """Seconds until it is tried again."""
        return ASK_AGAIN[min(self._tries, len(ASK_AGAIN) - 1)]

    def hurry(self) -> None:
        """Somebody wants to know at once what is only asked for again after a while."""
        self._wake.set()

    async def ask(self) -> Event | None:
        """What the destination says now means this; ``None``: QEMU here has the word again, which had lost it."""
        case = self._case
        if case.state is State.SWITCHING and not await self._hangs():
            case.hung = case.record.error = ""
            case.note("QEMU answers again")
            return None
        said, detail = await ask.word(case.destination_uri, case.on_wire, case.begun, case.dialler)
        has_ended = case.guest is None or not case.guest.is_active
        event, told = rescue.meaning(said, case.state, has_ended=has_ended)
        case.obstacle = told or detail or said.value
        if event is Event.WORD_GONE and case.state is not State.SWITCHING:
            # What the destination has answered itself says more than that it has nothing.
            refused = case.doubt if isinstance(case.doubt, errors.RemoteError) else None
            case.cause.set(refused or errors.OperationFailed(detail or str(case.doubt)))
        if event is Event.WORD_POSTCOPY and case.state is State.POSTCOPY_FAILED and case.rescue.by is not None:
            return await self._take_up_again(case.rescue.by())
        return event

    async def recall(self) -> Event:
        """Whether the destination has let go of a guest that runs here, whatever it still holds of it."""
        case = self._case
        assert case.rescue.by is not None, "what may switch can be rescued"
        event, detail = await case.rescue.by().recall()
        case.obstacle = detail or f"it says '{event.value}'"
        return event

    async def _hangs(self) -> bool:
        """Whether QEMU lives and still does not answer."""
        try:
            await self._case.domain.hypervisor.status()
        except errors.OperationTimeout:
            return True
        except errors.RequestError:
            pass  # it has ended, which is seen elsewhere
        return False

    async def _take_up_again(self, driving: Rescuing) -> Event:
        case = self._case
        try:
            status = await case.domain.hypervisor.status()
        except errors.RequestError as err:
            case.obstacle = f"its QEMU here does not say how it stands: {err}"
            return Event.WORD_POSTCOPY
        if status in GIVEN_UP:
            # QEMU before 10.2 may say so after it has said that it is in post-copy, and then runs the guest again.
            case.obstacle = "QEMU has given its post-copy up and runs the guest here: end what is left of it there"
            return Event.WORD_POSTCOPY
        case.driving = driving
        found = await case.rescue.attempt(driving, again=self._tried_here > 0)
        if found.data_path is not None:
            case.data_path = found.data_path
            case.record.interruptions += 1
        case.obstacle = found.obstacle or case.obstacle
        return found.event

    async def wait(self) -> Event:
        """A while, the longer the more often it was in vain."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.pause):
                await self._wake.wait()
        self._wake.clear()
        self._tries += 1
        self._tried_here += 1
        return Event.TICK
