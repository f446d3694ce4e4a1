"""QEMU sends the guest along one way: the middle of a migration, from ``migrate`` to the other end's last byte.

From the moment when post-copy is asked for nothing in here ends it any more: QEMU alone knows whether it has
switched, and says how it goes on.

Whatever goes wrong has one effect: the first cause is kept, QEMU's migration is cancelled and the way aborted. Every
wait in here ends at once when there is a cause, whoever gives it: the person who aborts, the deadline, the watch over
a tunnel that stands still, the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from culvert.channels.data_path import DataPath
from culvert.channels.work import Done, begin
from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.hypervisor import leaving
from culvert.hypervisor.contract import Guest, Outgoing
from culvert.hypervisor.status import PAUSED, POSTCOPY, SETTLED, UNLIMITED_SPEED
from culvert.migration.convergence import allowance, governor, sampling
from culvert.migration.convergence.budget import Budget
from culvert.migration.convergence.postcopy_limit import PostcopyLimit
from culvert.migration.options.parameters import Options
from culvert.migration.options.settings import Settings
from culvert.migration.progress import downtime
from culvert.migration.progress.statistics import JobRecord
from culvert.migration.source.cause import Cause
from culvert.migration.source.guest_here import CANCEL_TIMEOUT
from culvert.migration.source.stall import Stall
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.protocol.constants_state import DomainState

log = logging.getLogger(__name__)

HEARS_WITHIN = 2.0  # seconds for QEMU to take the cancel before its way is broken


class Broke(errors.OperationFailed):
    """QEMU gave the migration up by itself; the destination may know better why."""


class Sending:
    """``name`` is for logs and tasks; ``record`` gets QEMU's figures; ``budget`` is the host's; ``brief``: the guest
    is to stand still for a moment only, as long as nobody raises that (``allowance``)."""

    def __init__(
        self,
        name: str,
        domain: Guest,
        options: Options,
        settings: Settings,
        *,
        cause: Cause,
        record: JobRecord,
        budget: Budget,
        switched: Callable[[], None] = lambda: None,
        hung: Callable[[errors.RequestError], None] = lambda error: None,
        brief: bool = False,
    ) -> None:
        self._name = name
        self._domain = domain
        self._options = options
        self._settings = settings
        self._cause = cause
        self._record = record
        self._budget = budget
        self._switched = switched
        self._hung = hung
        self._brief = brief
        self.over = asyncio.Event()
        """Set when nothing is sent any more, and the last figures, QEMU's and the way's, are in the record."""
        self._bytes_before, self._cuts_before = record.tunnel_bytes, record.interruptions
        self._committed = False
        self._governor = governor.Governor()
        self._postcopy: PostcopyLimit | None = None
        self._in_postcopy = False
        self._outgoing: Outgoing | None = None
        self._data_path: DataPath | None = None

    @property
    def stopped_at(self) -> float | None:
        """When QEMU stopped the guest, on the monotonic clock; ``None`` while it has not."""
        return self._outgoing.stopped_at if self._outgoing is not None else None

    @property
    def way_stands(self) -> bool:
        """Whether what there is to send has its way, as far as is known here."""
        return self._data_path is None or self.over.is_set() or self._data_path.is_whole

    def parts(self, answered: float, *, postcopy: bool) -> downtime.Parts | None:
        """The standstill in its parts (``sampling.standstill``)."""
        return sampling.standstill(self._outgoing, self._record, answered, postcopy=postcopy)

    async def refresh(self) -> None:
        """Ask QEMU for its latest figures."""
        if self._outgoing is not None:
            with contextlib.suppress(errors.RequestError):
                self._record.update(await self._outgoing.statistics())

    def count(self) -> None:
        """Put what the way has counted into the record, behind what an earlier way has."""
        meter = None
        if self._data_path is not None:
            meter = self._data_path.meter
            self._record.interruptions = self._cuts_before + self._data_path.interruptions
        sent = self._record.qemu.ram_transferred if meter is None else self._bytes_before + meter.bytes
        self._record.tunnel_bytes = sent

    def _commit(self) -> bool:
        """Nothing ends it from here on but QEMU. False: something has already."""
        self._committed = self._cause.error is None
        return self._committed

    async def switch(self) -> None:
        """Let QEMU go over to post-copy as soon as it can; ``switched`` is called when it has."""
        if self._outgoing is not None and self._data_path is not None:
            # What is under way at the switch is nowhere else: QEMU is told only while the way is there, and then the
            # way is kept for as long as the other end knows it.
            await self._cause.guard(self._data_path.hold_on())
            if self._commit():
                await self._outgoing.switch_to_postcopy()

    async def run(self, data_path: DataPath, *, again: bool = False) -> str:
        """Send the guest along ``data_path``: on return the destination's QEMU has loaded every byte. Closes it.

        ``again``: take up a post-copy that has lost its way. Answers how it ended: ``completed``, or
        ``postcopy-paused`` for a post-copy that has lost its way (again). The guest then stands still here. Raises
        the first cause; QEMU has then given up, the way is aborted, and the guest stands still only if it had come to
        that.
        """
        status = ""
        try:
            self._data_path = data_path
            self._record.route = data_path.route.value
            self._record.channels = len(data_path.plan)
            outgoing = self._outgoing = self._domain.hypervisor.outgoing()
            outgoing.on_sleep = self._asleep
            if self._options.has(MigrateFlag.ABORT_ON_ERROR):
                outgoing.on_io_error = self._io_error
            try:
                if not again:
                    leaving.check("migrate", self._domain.name, self._domain.state)  # it may have gone to sleep since
                await allowance.begin(self._domain, self._record.course, brief=self._brief and not again)
                if self._budget.total and self._options.postcopy:
                    asked = self._options.bandwidth_postcopy * MiB
                    self._postcopy = await PostcopyLimit.of(self._domain.hypervisor, asked)
                    self._in_postcopy = again
                await self.limit(self._options.bandwidth or self._domain.hypervisor.max_speed)
                if again:
                    self._committed = True
                    # QEMU before 8.2 hangs when its way ends while it recovers: it is not to see that.
                    await data_path.hold_on()
                    status = await self._carry(outgoing, data_path, again=True)
                else:
                    with data_path.entrance() as entrance:
                        await self._cause.guard(outgoing.start(entrance, data_path.setup))
                    if self._postcopy is not None:
                        await self._postcopy.repeat()  # the setup has told QEMU what was asked for
                    status = await self._carry(outgoing, data_path)
            except errors.RequestError as err:
                self._cause.set(await self._domain.hypervisor.behind("source", err))
            finally:
                outgoing.close()
                await self._budget.leave(self)
                if self._postcopy is not None and status != "completed":
                    await self._postcopy.give_back()
            if status != "completed":
                data_path.abort(str(self._cause.error or status))
            if self._cause.error is not None:
                raise self._cause.error
            return status
        finally:
            data_path.close()
            self.count()
            self.over.set()

    async def limit(self, mib_per_second: int) -> None:
        """Send at most so much from now on, within the host's budget; 0 for no limit of its own."""
        if not self._in_postcopy:
            wanted = 0 if mib_per_second >= UNLIMITED_SPEED else mib_per_second * MiB
            await self._budget.join(self, wanted, self._slow_down)
        elif self._postcopy is not None:
            await self._budget.join(self, self._postcopy.wanted, self._slow_down)

    @property
    def postcopy_limit(self) -> int | None:
        """In MiB/s, what a person has said of post-copy, 0 for nothing; ``None``: only QEMU knows."""
        return None if self._postcopy is None else self._postcopy.wanted // MiB

    async def limit_postcopy(self, mib_per_second: int) -> None:
        """A person says so, where ``postcopy_limit`` is known: within the host's budget."""
        assert self._postcopy is not None, "it is known"
        self._postcopy.wanted = mib_per_second * MiB
        if self._in_postcopy:
            await self._budget.join(self, self._postcopy.wanted, self._slow_down)
        else:
            await self._postcopy.repeat()

    async def _slow_down(self, limit: int) -> None:
        if self._postcopy is not None:
            await self._postcopy.apply(limit)
        if self._in_postcopy:
            return
        await self._domain.hypervisor.set_speed(self._governor.change(limit))
        # Held back, QEMU sees a tenth of a second full and the next one empty, and takes either for what the way can.
        await self._domain.hypervisor.expect_speed(self._options.avail_switchover_bandwidth * MiB or limit)

    async def _carry(self, outgoing: Outgoing, data_path: DataPath, *, again: bool = False) -> str:
        """Go on until QEMU is done and the other end has everything: QEMU's last word; the cause tells why."""
        name = self._name
        status = "failed"
        async with asyncio.TaskGroup() as tasks:
            moving = tasks.create_task(self._move(data_path), name=f"{name}: {data_path.route.value}")
            watching = [
                tasks.create_task(self._watch_deadline(), name=f"{name}: deadline"),
                tasks.create_task(self._watch_progress(), name=f"{name}: progress"),
                tasks.create_task(self._govern(), name=f"{name}: speed limit"),
                tasks.create_task(
                    sampling.keep_looking(self._domain.hypervisor, self.refresh), name=f"{name}: figures"
                ),
            ]
            try:
                if again:
                    with data_path.entrance() as entrance:
                        if not await outgoing.recover(entrance):
                            return "completed"
                status = await self._cause.guard(self._last_status(outgoing))
                if status == PAUSED:
                    return status
                if status != "completed":
                    why = (await outgoing.statistics()).error or f"QEMU's migration ended as '{status}'"
                    raise Broke(f"job 'migration out' failed: {why}")
                # The guest stands still from here on, so QEMU's last figures are fetched at the same time.
                figures: asyncio.Task[Done[Any]] = begin(tasks, self.refresh(), f"{name}: last figures")
                await self._cause.guard(data_path.finish())
                (await figures).unwrap()
            except errors.RequestError as err:
                self._cause.set(await self._domain.hypervisor.behind("source", err))
                if not self._committed:
                    await self._stop(outgoing, data_path)
            finally:
                for ending in (moving, *watching):
                    ending.cancel()
        return status if self._cause.error is None else "failed"

    async def adopt(self) -> str:
        """The same for what an earlier daemon has let QEMU send, by a way that is QEMU's own or has gone."""
        outgoing = self._outgoing = self._domain.hypervisor.outgoing()
        self._committed = True
        try:
            await outgoing.look()
            return await self._last_status(outgoing)
        finally:
            outgoing.close()
            self.count()
            self.over.set()

    async def _last_status(self, outgoing: Outgoing) -> str:
        """Tell of the switch to post-copy, and wait for the word after which nothing moves any more."""
        while (status := await outgoing.next_status(SETTLED | POSTCOPY)) not in (
            *SETTLED,
            PAUSED,
        ):
            if status == "postcopy-active":
                self._committed = True
                self._switched()
                await self._share_postcopy()
        return status

    async def _share_postcopy(self) -> None:
        """From the switch on another limit counts; what QEMU was told of it is no more than the share before."""
        if self._postcopy is not None and not self._in_postcopy:
            self._in_postcopy = True
            try:
                await self._budget.join(self, self._postcopy.wanted, self._slow_down)
            except errors.RequestError as err:
                log.warning("%s: the limit of its post-copy stays as it is: %s", self._name, err)

    def _fail(self, cause: errors.RequestError) -> None:
        """End it because of ``cause``, as long as it can be ended."""
        if self._committed:
            log.warning("%s: %s; QEMU says what becomes of it", self._name, cause)
        else:
            self._cause.set(cause)

    async def _move(self, data_path: DataPath) -> None:
        try:
            await data_path.carry()
        except errors.RequestError as err:
            self._fail(err)
            if self._committed:
                data_path.abort(str(err))  # so that QEMU sees it too
        except OSError as err:
            # QEMU's end of the socket pair broke: the reason is QEMU's to tell, through its monitor.
            log.debug("%s: the data path ended: %s", self._name, err)

    def _asleep(self) -> None:
        refused = leaving.refusal("go on migrating", self._domain.name, DomainState.PMSUSPENDED)
        if refused is not None:
            self._fail(refused)

    def _io_error(self, device: str) -> None:
        self._fail(errors.OperationFailed(f"an I/O error of disk '{device}' ended the migration (--abort-on-error)"))

    async def _stop(self, outgoing: Outgoing, data_path: DataPath) -> None:
        """Make QEMU give up and wait until it has; what it says then changes nothing any more."""
        reason = str(self._cause.error)
        # A QEMU that has stopped the guest and waits for a way that takes nothing any more answers nobody: it holds
        # its big lock. Then the way must break first.
        breaks = asyncio.get_running_loop().call_later(HEARS_WITHIN, data_path.abort, reason)
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                try:
                    await outgoing.cancel()
                finally:
                    breaks.cancel()
                    data_path.abort(reason)
                await outgoing.settled()
        except (errors.RequestError, TimeoutError) as err:
            log.warning("%s: QEMU did not confirm the cancel: %s", self._name, err)

    # -- the watches ----------------------------------------------------------------------------------------------

    async def _govern(self) -> None:
        """Keep to the limit there is."""
        while True:
            await asyncio.sleep(governor.INTERVAL)
            if self._governor.limit and not self._in_postcopy:
                sent = await self._moved()
                with contextlib.suppress(errors.RequestError):
                    await self._domain.hypervisor.set_speed(self._governor.look(time.monotonic(), sent))

    async def _watch_deadline(self) -> None:
        if seconds := self._settings.deadline_seconds:
            await asyncio.sleep(max(0.0, self._record.started + seconds - time.monotonic()))
            self._fail(
                errors.OperationTimeout(
                    f"migration of domain '{self._domain.name}' was not done within {seconds:g} s and was cancelled"
                )
            )

    async def _watch_progress(self) -> None:
        if seconds := self._settings.stall_seconds:
            stall = Stall(seconds)
            while True:
                # What is known, and QEMU is not asked: one that hangs takes its time to say nothing.
                if stall.look(self._known_moved):
                    if not self._committed:
                        break
                    await self._look_for_life()
                await asyncio.sleep(stall.pause)
            self._fail(
                errors.OperationTimeout(
                    f"migration of domain '{self._domain.name}': nothing went through the tunnel for {seconds:g} s"
                )
            )

    async def _look_for_life(self) -> None:
        """It cannot be ended any more, and nothing moves: who is told is told whether that is QEMU's doing."""
        try:
            await self._domain.hypervisor.status()
        except errors.OperationTimeout as err:
            self._hung(err)
        except errors.RequestError as err:
            log.debug("%s: QEMU ends: %s", self._name, err)

    async def _moved(self) -> int:
        """Bytes on their way so far."""
        if self._data_path is None or self._data_path.meter is None:
            await self.refresh()
        return self._known_moved

    @property
    def _known_moved(self) -> int:
        """The same, where only QEMU knows as of the last look at it."""
        if self._data_path is not None and self._data_path.meter is not None:
            return self._data_path.meter.bytes
        return self._record.qemu.ram_transferred
