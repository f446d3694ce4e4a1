"""``culvert migrate``: the call, the looking-on, the cancelling, and the question where the guest is at the end.

::

    migrate ─┬─ perform    the one call that lasts as long as the migration
             ├─ watch      asks for the job's figures and shows them
             ├─ cancel     sleeps until Ctrl-C or the deadline asks; then ABORT_JOB until the daemon takes it
             ├─ deadline   sleeps until ``--timeout``; then cancels, suspends the guest, or goes over to post-copy
             └─ postcopy   with ``--postcopy-after-precopy``: goes over to post-copy when the memory has gone once

All live in one task group that ends when the call does. The source daemon drives the migration, so losing this
process loses nothing; a second Ctrl-C leaves it to itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from culvert.cli import target, whereabouts
from culvert.cli.display import Display
from culvert.cli.exits import Exit
from culvert.cli.progress import Progress
from culvert.cli.request import Request
from culvert.cli.verdict import Facts, Verdict, decide
from culvert.ground import errors
from culvert.ground import uri as uris
from culvert.ground.uri import ConnectionURI
from culvert.protocol import remote_domain, remote_job, remote_migrate, shapes, typed_params, types
from culvert.protocol.constants_flag import JobStatsFlag
from culvert.protocol.constants_migrate import JobStat
from culvert.rpc import client as rpc

POLL_SECONDS = 0.5
ABORT_AGAIN_SECONDS = 0.5  # an abort that comes before the job has begun is refused, and asked again
CALL_SECONDS = 10.0
POSTCOPY_ITERATION = 2


@dataclass(slots=True)
class Wishes:
    """What the person has asked for since the start."""

    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    leave: asyncio.Event = field(default_factory=asyncio.Event)

    def interrupt(self) -> None:
        """Ctrl-C: the first cancels, the next one leaves."""
        (self.leave if self.cancel.is_set() else self.cancel).set()


@dataclass(slots=True)
class Run:
    """One migration under way."""

    client: rpc.Client
    dom: types.Domain
    request: Request
    display: Display
    wishes: Wishes
    over: asyncio.Event = field(default_factory=asyncio.Event)
    error: str | None = None
    aborted: bool = False  # the daemon says that somebody has aborted it
    ended: bool = False  # the daemon has answered: not so when the connection was lost, or nobody waited

    async def perform(self) -> None:
        """Make the call; its refusal is kept for the last words."""
        try:
            await self.client.call(remote_migrate.DOMAIN_MIGRATE_PERFORM3_PARAMS, self.request.call(self.dom))
            self.ended = True
        except errors.ConnectionLost as err:
            self.error = str(err)
        except errors.RequestError as err:
            self.error = str(err)
            self.aborted = errors.triple(err)[0] == errors.ErrorCode.OPERATION_ABORTED
            self.ended = True
        self.over.set()

    async def watch(self) -> None:
        """Show the job until it is over. A look that fails is left out: the figures are not the migration."""
        loop = asyncio.get_running_loop()
        while not await self._over_within(POLL_SECONDS):
            with contextlib.suppress(errors.RequestError):
                stats = await self._job(0)
                if (progress := Progress.from_stats(stats)) is not None and not self.over.is_set():
                    self.display.update(progress, loop.time())

    async def cancel(self) -> None:
        """Once asked, abort the job, again and again until the call ends."""
        await self._first(self.wishes.cancel.wait())
        if self.over.is_set():
            return
        self.display.notice(f"cancelling the migration of '{self.dom.name}' (Ctrl-C now: do not wait)")
        while not self.over.is_set():
            with contextlib.suppress(errors.RequestError):
                await self.client.call(remote_job.DOMAIN_ABORT_JOB, shapes.DomainArgs(self.dom), CALL_SECONDS)
            await self._over_within(ABORT_AGAIN_SECONDS)

    async def deadline(self) -> None:
        """When ``--timeout`` has passed: cancel, or suspend the guest so that nothing is dirtied any more."""
        if self.request.timeout is None or await self._over_within(self.request.timeout):
            return
        if self.request.timeout_postcopy:
            self.display.notice(f"going over to post-copy: not ended within {self.request.timeout:g} s")
            await self._start_postcopy()
            return
        if not self.request.timeout_suspend:
            self.display.notice(f"the migration has not ended within {self.request.timeout:g} s")
            self.wishes.cancel.set()
            return
        self.display.notice(f"suspending '{self.dom.name}': not ended within {self.request.timeout:g} s")
        try:
            await self.client.call(remote_domain.DOMAIN_SUSPEND, shapes.DomainArgs(self.dom))
        except errors.RequestError as err:
            if not self.over.is_set():
                self.display.notice(f"suspending '{self.dom.name}' failed: {err}")

    async def postcopy(self) -> None:
        """Go over to post-copy as soon as all of the memory has gone once (as virsh does, in iteration 2)."""
        while self.request.postcopy_after_precopy and not await self._over_within(POLL_SECONDS):
            with contextlib.suppress(errors.RequestError):
                stats = typed_params.loose((await self._job(0)).params)
                if int(stats.get(JobStat.MEMORY_ITERATION, 0)) >= POSTCOPY_ITERATION:
                    await self._start_postcopy()
                    return

    async def _start_postcopy(self) -> None:
        try:
            await self.client.call(remote_job.DOMAIN_MIGRATE_START_POST_COPY, shapes.DomainFlagsArgs(self.dom, 0))
        except errors.RequestError as err:
            if not self.over.is_set():
                self.display.notice(f"going over to post-copy failed: {err}")

    async def until_over(self) -> None:
        """All of it; afterwards the call has ended, or is no longer waited for."""
        async with asyncio.TaskGroup() as group:
            parts: list[tuple[str, Callable[[], Awaitable[None]]]] = [
                *(("perform", self.perform), ("watch", self.watch), ("cancel", self.cancel)),
                *(("deadline", self.deadline), ("postcopy", self.postcopy)),
            ]
            tasks = [group.create_task(_awaited(part()), name=f"migrate {name}") for name, part in parts]
            await self._first(self.wishes.leave.wait())
            if not self.over.is_set():
                for task in tasks:
                    task.cancel()

    async def final(self) -> Progress | None:
        """The finished job's figures: from the source, or for a domain that is gone there from the destination."""
        flags = JobStatsFlag.COMPLETED | JobStatsFlag.KEEP_COMPLETED
        with contextlib.suppress(errors.RequestError):
            return Progress.from_stats(await self._job(flags))
        with contextlib.suppress(errors.RequestError):
            async with target.opened(uris.parse(self.request.destination), timeout=CALL_SECONDS) as destination:
                return Progress.from_stats(await self._job(flags, destination))
        return None

    async def _job(self, flags: int, client: rpc.Client | None = None) -> remote_job.JobStatsRet:
        args = shapes.DomainFlagsArgs(self.dom, int(flags))
        return await (client or self.client).call(remote_job.DOMAIN_GET_JOB_STATS, args, CALL_SECONDS)

    async def _over_within(self, seconds: float) -> bool:
        """Wait for the end, at most so long; answers whether it has come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.over.wait()
        return self.over.is_set()

    async def _first(self, wish: Awaitable[object]) -> None:
        """Wait for ``wish`` or the end of the call."""
        async with asyncio.TaskGroup() as group:
            waiters = [
                group.create_task(_awaited(wish), name="wish"),
                group.create_task(_awaited(self.over.wait()), name="over"),
            ]
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
            for waiter in waiters:
                waiter.cancel()


async def migrate(uri: ConnectionURI, domain: str, request: Request, display: Display) -> Verdict:
    """Migrate ``domain`` from the daemon at ``uri``. Refusals do not come out of here but are told in the last words,
    which have been shown when this answers."""
    try:
        async with target.opened(uri) as client:
            try:
                dom = await target.find(client, domain)
            except errors.RequestError as err:
                return not_begun(display, Exit.FAILED, str(err))
            return await _migrate(Run(client, dom, request, display, Wishes()))
    except target.Unreachable as err:
        return not_begun(display, Exit.UNREACHABLE, str(err))


def not_begun(display: Display, code: Exit, error: str) -> Verdict:
    """The last words when nothing has been asked of the daemon."""
    result = "cancelled" if code is Exit.CANCELLED else "failed"
    verdict = Verdict(code, result, "unknown", f"error: {error}; nothing was done: the guest is where and as it was")
    display.end(verdict, None)
    return verdict


async def _migrate(run: Run) -> Verdict:
    with run.display, _interrupts(run.wishes):
        run.display.begin(run.dom.name, str(run.client.uri), run.request.destination)
        await run.until_over()
        verdict = decide(await _facts(run))
        final = await run.final() if verdict.exit is Exit.OK else None
        run.display.end(verdict, final)
    return verdict


async def _facts(run: Run) -> Facts:
    async with asyncio.TaskGroup() as group:
        here = group.create_task(whereabouts.look_or_ask(run.client, run.dom.uuid), name="ask source")
        there = group.create_task(whereabouts.ask(run.request.destination, run.dom.uuid), name="ask destination")
    return Facts(
        name=run.dom.name,
        source=str(run.client.uri),
        destination=run.request.destination,
        at_source=here.result(),
        at_destination=there.result(),
        destination_name=run.request.dname,
        error=run.error,
        cancelled=run.wishes.cancel.is_set() or run.aborted,
        left=not run.ended,
        offline=run.request.offline,
    )


async def _awaited(what: Awaitable[object]) -> None:
    await what


@contextlib.contextmanager
def _interrupts(wishes: Wishes) -> Iterator[None]:
    """Ctrl-C and SIGTERM are wishes for the length of the block."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, wishes.interrupt)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
