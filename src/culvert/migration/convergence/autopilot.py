"""``--auto`` at work: looks at a running migration, asks the policy, applies what it says to QEMU, tells why."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from culvert.ground import errors
from culvert.hypervisor.contract import Hypervisor
from culvert.hypervisor.status import POSTCOPY
from culvert.migration.convergence import policy, sampling
from culvert.migration.convergence.link import Link
from culvert.migration.convergence.policy import Action, Decision, Situation
from culvert.migration.options.parameters import NO_FLAGS, Options
from culvert.migration.progress.progress import Course
from culvert.migration.progress.statistics import JobRecord
from culvert.protocol.constants_migrate import MigrateFlag

log = logging.getLogger(__name__)

INTERVAL = 0.5  # seconds between two decisions
HELD = 1  # percent: the least that QEMU's auto-converge can be told to take, until more is decided
PARAMETER = "auto"  # of the destination's connection URI: on or off; the configuration says which without it


@dataclass(frozen=True, slots=True)
class May:
    """What peer, route, QEMU and person leave open."""

    postcopy: bool = False
    parallel: bool = False
    compress: bool = False


async def arm(
    hypervisor: Hypervisor, options: Options, may: May, probe: Callable[[], Coroutine[Any, Any, Link | None]]
) -> tuple[Options, policy.Plan]:
    """``options`` with all that may be needed switched on, before anything is sent; and what was planned.

    The link is measured by ``probe`` first, and beside it, where the plan depends on it, how fast the guest changes
    its memory, which takes about a second. What the person has asked for stays. Where nobody has said how fast QEMU
    slows the guest down, that is held back (``is_held``) and decided step by step.
    """
    async with asyncio.TaskGroup() as tasks:
        probing = tasks.create_task(probe(), name="auto: the link")
        measuring = None if may.postcopy else tasks.create_task(dirty_rate(hypervisor), name="auto: the guest")
    link = probing.result()
    known = policy.Known(measuring.result() if measuring else None, link.rate if link else None)
    parallel = may.parallel and not options.connections and not options.xbzrle and not options.postcopy
    plan = policy.plan(known, may_postcopy=may.postcopy, may_parallel=parallel, may_compress=may.compress)
    wanted = MigrateFlag.AUTO_CONVERGE | (MigrateFlag.POSTCOPY if plan.postcopy else NO_FLAGS)
    armed = options.with_flags(wanted)
    if options.throttle_initial is None and options.throttle_increment is None:
        armed = replace(armed, throttle_initial=HELD, throttle_increment=HELD, throttle_max=HELD)
    if plan.postcopy and not options.postcopy:
        # Only the destination knows whether its QEMU can have it.
        armed = replace(armed, optional=True, instead=policy.CHANNELS if may.parallel else 0)
    if plan.connections:
        armed = replace(armed, parallel_connections=plan.connections)
    return armed, plan


def is_held(options: Options) -> bool:
    """Whether ``arm`` has held QEMU's auto-converge back."""
    return options.throttle_max == HELD


async def dirty_rate(hypervisor: Hypervisor) -> float | None:
    """How many bytes per second the guest changes; ``None``, and a line in the log, where QEMU cannot tell."""
    try:
        return await hypervisor.dirty_rate()
    except errors.RequestError as err:
        log.info("auto: the guest could not be measured: %s", err)
        return None


def aboard(
    hypervisor: Hypervisor,
    look: Callable[[], Awaitable[JobRecord]],
    course: Course,
    *,
    auto: bool,
    switch: Callable[[], Awaitable[object]] | None,
    note: Callable[[str], object],
    floor: int | None,
    as_asked: bool = False,
) -> Autopilot:
    """The autopilot of one migration: with ``auto`` it decides everything, else only what an armed post-copy needs.

    ``course`` is told what it is going to do, for the forecast; the rest as for ``Autopilot``, and ``floor`` ``None``
    means the policy's.
    """
    rows, name = (policy.AUTO, "auto") if auto else (policy.ARMED, "post-copy")
    if switch is not None:
        course.armed = not auto
    if switch is not None and auto:
        course.switches_from, course.switches_short = policy.ROUNDS, policy.SHORT
    return Autopilot(
        *(hypervisor, look),
        switch=switch,
        note=lambda said: note(f"{name}: {said}"),
        floor=policy.FLOOR if floor is None else floor,
        rows=rows,
        as_asked=as_asked,
    )


class Autopilot:
    """One migration's. ``look`` fetches its record with QEMU's latest figures; ``switch`` goes over to post-copy,
    ``None`` where that is not armed; ``note`` is told each new decision in a sentence. ``rows``: of the policy;
    ``as_asked``: a person has said how the guest is slowed down.

    Slowing down works by QEMU's auto-converge, which must be on from the start, and be held (``arm``) until it is
    decided: QEMU is told of the capability and its limits together, after ``run`` has begun.
    """

    def __init__(
        self,
        hypervisor: Hypervisor,
        look: Callable[[], Awaitable[JobRecord]],
        *,
        switch: Callable[[], Awaitable[object]] | None,
        note: Callable[[str], object],
        floor: int = policy.FLOOR,
        rows: Sequence[policy.PolicyRow] = policy.AUTO,
        as_asked: bool = False,
    ) -> None:
        self._hypervisor = hypervisor
        self._look = look
        self._switch = switch
        self._note = note
        self._floor = floor
        self._rows = rows
        self._as_asked = as_asked
        self._throttle = 0
        self._round = 0
        self._interruptions = 0
        self._broke_at: float | None = None
        self._said = ""

    async def run(self) -> NoReturn:
        """Until cancelled: whenever a round begins, and now and then. What QEMU refuses is noted, and the migration
        goes on as it was."""
        with sampling.Rounds(self._hypervisor) as rounds:
            while True:
                await self.step(await self._look(), time.monotonic())
                await rounds.next(INTERVAL)

    async def step(self, record: JobRecord, now: float) -> Decision:
        """Decide once, and do it."""
        if record.interruptions != self._interruptions:
            self._interruptions, self._broke_at = record.interruptions, now
        course = record.course
        decision = policy.decide(
            Situation(
                forecast=course.forecast,
                limit=course.limit,
                most=course.most,
                switched=record.qemu.status in POSTCOPY,
                steady=None if self._broke_at is None else now - self._broke_at,
                postcopy=self._switch is not None,
                throttle=self._throttle,
                floor=self._floor,
                as_asked=self._as_asked,
            ),
            self._rows,
        )
        if decision.action in (Action.THROTTLE, Action.ALLOW):
            if course.forecast.round <= self._round:
                return decision  # what was done last has not had its round yet
            self._round = course.forecast.round
        if decision.action is Action.THROTTLE:
            self._throttle = decision.throttle
            await self._apply(lambda: self._hypervisor.allow_throttle(decision.throttle, step=policy.STEP))
        elif decision.action is Action.ALLOW:
            course.limit = decision.limit
            await self._apply(lambda: self._hypervisor.set_max_downtime(round(1000 * decision.limit)))
        elif decision.action is Action.POSTCOPY and self._switch is not None:
            switch, self._switch = self._switch, None  # once: it ends there, or fails and is not tried again
            if not await self._apply(switch):
                course.switches_from = None
        self._tell(record, decision)
        return decision

    def _tell(self, record: JobRecord, decision: Decision) -> None:
        words = f"{decision.action.value}: {decision.because}"
        # The same decision with other figures in its reason is no news.
        kind = f"{decision.action} {decision.throttle} {decision.limit} {bool(record.course.forecast.stuck)}"
        if kind != self._said:
            self._said = kind
            if self._rows is policy.AUTO:
                record.auto = words
            if self._rows is policy.AUTO or decision.action is not Action.GO_ON:
                self._note(words)

    async def _apply(self, work: Callable[[], Awaitable[object]]) -> bool:
        """Whether it is done."""
        try:
            await work()
        except errors.RequestError as err:
            log.warning("auto: %s", err)
            self._note(f"QEMU has not done it: {err}")
            return False
        return True
