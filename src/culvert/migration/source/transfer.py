"""What a departure sends: along which way, how that ended, and that it is taken up again by another one.

One ``Sending`` for each way; a post-copy that loses its ways has several.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Mapping
from types import MappingProxyType
from typing import NoReturn

from culvert.channels.data_path import DataPath
from culvert.ground import errors
from culvert.hypervisor.status import PAUSED
from culvert.migration.convergence import autopilot
from culvert.migration.convergence.budget import Budget
from culvert.migration.handover.machine_source import Event, State
from culvert.migration.progress import statistics
from culvert.migration.source import guest_here
from culvert.migration.source.case import Case
from culvert.migration.source.cause import Cause
from culvert.migration.source.sending import Sending

log = logging.getLogger(__name__)


class Transfer:
    """Of ``case``, within ``budget``. Its commands are those of ``machine.Do`` that QEMU carries out."""

    def __init__(self, case: Case, budget: Budget) -> None:
        self._case = case
        self._budget = budget
        self._before: Mapping[str, int] = MappingProxyType({})
        self.is_done = False
        """Whether everything has been sent: then only the destination decides."""

    async def refreshed(self) -> statistics.JobRecord:
        """The job's record with the latest figures."""
        return await self._case.account.refreshed(sends=self.is_under_way)

    @property
    def is_under_way(self) -> bool:
        """Whether QEMU sends, so that its limits can be changed."""
        case = self._case
        return case.account.sending is not None and case.state in (State.PERFORM3, State.SWITCHING, State.POSTCOPY)

    async def take(self, data_path: DataPath) -> None:
        """What is sent next goes by ``data_path``; what a person has set is put back if nothing comes of it.

        Raises what the monitor raises.
        """
        self._case.data_path = data_path
        self._before = await self._case.domain.hypervisor.personal(data_path.setup)

    # -- the commands ---------------------------------------------------------------------------------------------

    async def send(self) -> Event:
        case = self._case
        data_path, case.data_path = case.data_path, None
        if data_path is None:
            return Event.NOT_SENT  # it was called off, or QEMU ended, before this began
        flying = self._fly()
        try:
            event = await self._sent_by(self._new_sending().run(data_path))
            if event is Event.NOT_SENT:
                case.heed_the_end()
                with contextlib.suppress(errors.RequestError):  # then QEMU is no more
                    await case.domain.hypervisor.put_back(self._before, data_path.setup)
            return event
        finally:
            if flying is not None:
                flying.cancel()

    async def adopt(self) -> None:
        """What an earlier daemon has let QEMU send."""
        self._case.shell.feed(await self._sent_by(self._new_sending(again=True).adopt()))

    async def switch(self) -> None:
        """Only QEMU says what comes of it: it may be through with its pre-copy already."""
        if self._case.account.sending is not None:
            try:
                await self._case.account.sending.switch()
            except errors.OperationTimeout as err:
                self._hung(err)
            except errors.RequestError as err:
                log.warning("%s: QEMU does not go over to post-copy: %s", self._case.shell.name, err)

    async def recover(self) -> None:
        case = self._case
        data_path, case.data_path = case.data_path, None
        if data_path is not None and case.tasks is not None:
            case.rescue.path_lost = False
            case.tasks.create_task(self._resend(data_path), name=f"{case.shell.name}: sending again")

    async def stop(self) -> None:
        """What this daemon began is over when it says so; an earlier one may have left more."""
        self._case.drop_data_path()
        if self._case.guest is not None:
            await guest_here.stop_sending(self._case.guest)

    # -- how they are done ----------------------------------------------------------------------------------------

    @property
    def _flown(self) -> bool:
        """Whether somebody looks after how it goes on."""
        return self._case.auto or self._case.options.postcopy

    def _fly(self) -> asyncio.Task[NoReturn] | None:
        case = self._case
        if not self._flown or case.tasks is None:
            return None

        async def switch() -> None:
            await case.shell.ask(Event.SWITCH)

        pilot = autopilot.aboard(
            *(case.domain.hypervisor, self.refreshed, case.record.course),
            auto=case.auto,
            switch=switch if case.options.postcopy else None,
            note=case.note,
            floor=case.settings.auto_floor,
            as_asked=not autopilot.is_held(case.options),
        )
        return case.tasks.create_task(pilot.run(), name=f"{case.shell.name}: autopilot")

    def _new_sending(self, *, again: bool = False) -> Sending:
        # Why one way was lost is no reason to lose the next one.
        case = self._case
        case.account.sending = Sending(
            *(case.shell.name, case.domain, case.options, case.settings),
            cause=Cause(case.shell.name) if again else case.cause,
            record=case.record,
            budget=self._budget,
            switched=self._switched,
            hung=self._hung,
            brief=self._flown,
        )
        return case.account.sending

    def _switched(self) -> None:
        if self._case.state is State.SWITCHING:
            self._case.shell.feed(Event.SWITCHED)

    def _hung(self, error: errors.RequestError) -> None:
        if self._case.state is State.SWITCHING and not self._case.hung:
            self._case.hung = str(error)
            self._case.shell.feed(Event.HUNG)

    async def _sent_by(self, sending: Awaitable[str]) -> Event:
        """What the end of ``sending`` means."""
        case = self._case
        try:
            status = await sending
        except errors.RequestError as err:
            if case.state not in (State.POSTCOPY, State.POSTCOPY_FAILED):
                return Event.NOT_SENT
            case.obstacle, status = str(err), PAUSED
        if status != "completed":
            case.rescue.path_lost = True
            case.show()
            return Event.BROKEN if status == PAUSED else Event.NOT_SENT
        self.is_done = True
        return Event.SENT

    async def _resend(self, data_path: DataPath) -> None:
        self._case.shell.feed(await self._sent_by(self._new_sending(again=True).run(data_path, again=True)))
