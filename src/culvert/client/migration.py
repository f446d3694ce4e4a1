"""A migration under way: the call, the looking-on, the cancelling, and the question where the guest is at the end.

::

    drive ─┬─ until it is over ─┬─ perform    the one call that lasts as long as the migration
           │                    ├─ abort      sleeps until a cancel asks; then ABORT_JOB until the daemon takes it
           │                    ├─ deadline   sleeps until ``timeout``; then cancels, suspends, or takes post-copy
           │                    └─ postcopy   goes over to post-copy when the memory has gone once
           └─ facts   both sides are asked where the guest is, which makes the verdict

All of it is one task beside the caller's block, so that a cancelled caller can still wait for it. The source daemon
drives the migration: losing this process loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from culvert.client import job, target, whereabouts
from culvert.client.options import MigrateOptions
from culvert.client.progress import Progress
from culvert.client.verdict import Facts, NotArrived, Verdict, decide
from culvert.ground import errors
from culvert.ground.uri import ConnectionURI
from culvert.protocol import remote_domain, remote_job, remote_migrate, shapes, types
from culvert.protocol.constants_migrate import JobStat
from culvert.rpc import client as rpc

POLL_SECONDS = 0.5
ABORT_AGAIN_SECONDS = 0.5  # an abort that comes before the job has begun is refused, and asked again
CALL_SECONDS = 10.0
POSTCOPY_ITERATION = 2

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person should know now; ``cancelling``: from here on the end is waited for."""

    words: str
    cancelling: bool = False


def unheard(notice: Notice) -> None:
    """For who wants no notices."""


class Migration:
    """One migration under way; iterated over it gives its ``Progress``, the latest look, until it is over.

    ``name``: the domain's; ``source`` and ``destination``: URIs, as they are used. ``final``: afterwards the finished
    job's figures, where the guest has arrived and somebody has them.

    Making one asks nothing of the daemon. Raises ``errors.InvalidArgument`` for an option whose value cannot be sent.
    """

    def __init__(
        self,
        client: rpc.Client,
        dom: types.Domain,
        destination: ConnectionURI,
        options: MigrateOptions,
        notice: Callable[[Notice], object] = unheard,
    ) -> None:
        self.name = dom.name
        self.source = client.uri
        self.destination = destination
        self.final: Progress | None = None
        self._client = client
        self._dom = dom
        self._options = options
        self._args = options.call(dom, str(destination))
        self._notice = notice
        self._cancelled = asyncio.Event()
        self._over = asyncio.Event()  # the call has ended, or is no longer waited for
        self._left = False
        self._answered = False  # the daemon has answered: not so when the connection was lost, or nobody waited
        self._aborted = False  # the daemon says that somebody has aborted it
        self._error: str | None = None
        self._verdict: Verdict | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Progress:
        while not await self._over_within(POLL_SECONDS):
            if (progress := await self._unless_over(self._look())) is not None:
                return progress
        raise StopAsyncIteration

    @property
    def verdict(self) -> Verdict:
        """How it ended and where the guest is. Raises ``errors.OperationInvalid`` while that has not been asked."""
        if self._verdict is None:
            raise errors.OperationInvalid(f"where guest '{self.name}' is has not been asked yet")
        return self._verdict

    @property
    def is_known(self) -> bool:
        """Whether there is a verdict."""
        return self._verdict is not None

    def cancel(self) -> None:
        """Abort the migration as soon as the daemon takes it. The end is still to be waited for, and may be good."""
        if not self._over.is_set():
            self._cancelled.set()

    def leave(self) -> None:
        """Do not wait for the end: the migration is the source daemon's, and goes on or ends as it was told to."""
        if not self._over.is_set():
            self._left = True
            self._over.set()

    def interrupt(self) -> None:
        """What Ctrl-C means: the first time cancel, the next time leave."""
        if self._cancelled.is_set():
            self.leave()
        else:
            self.cancel()

    async def drive(self) -> None:
        """All of it; afterwards there is a verdict. No refusal comes out of here."""
        async with asyncio.TaskGroup() as group:
            parts = (self._perform, self._abort, self._deadline, self._postcopy)
            tasks = [group.create_task(part(), name=f"migrate {part.__name__.strip('_')}") for part in parts]
            await self._over.wait()
            if self._left:
                for task in tasks:
                    task.cancel()
        verdict = decide(await self._facts())
        self.final = await self._figures() if verdict.arrived else None
        self._verdict = verdict

    async def _perform(self) -> None:
        """Make the call; its refusal is kept for the verdict."""
        try:
            await self._client.call(remote_migrate.DOMAIN_MIGRATE_PERFORM3_PARAMS, self._args)
            self._answered = True
        except errors.ConnectionLost as err:
            self._error = str(err)
        except errors.RequestError as err:
            self._error = str(err)
            self._aborted = errors.triple(err)[0] == errors.ErrorCode.OPERATION_ABORTED
            self._answered = True
        self._over.set()

    async def _abort(self) -> None:
        """Once asked, abort the job, again and again until the call ends."""
        await self._unless_over(self._cancelled.wait())
        if self._over.is_set():
            return
        self._notice(Notice(f"cancelling the migration of '{self.name}'", cancelling=True))
        while not self._over.is_set():
            with contextlib.suppress(errors.RequestError):
                await self._client.call(remote_job.DOMAIN_ABORT_JOB, shapes.DomainArgs(self._dom), CALL_SECONDS)
            await self._over_within(ABORT_AGAIN_SECONDS)

    async def _deadline(self) -> None:
        """When the time has passed: cancel, or suspend the guest so that nothing is dirtied any more."""
        seconds = self._options.timeout
        if seconds is None or await self._over_within(seconds):
            return
        if self._options.timeout_postcopy:
            self._notice(Notice(f"going over to post-copy: not ended within {seconds:g} s"))
            await self._start_postcopy()
            return
        if not self._options.timeout_suspend:
            self._notice(Notice(f"the migration has not ended within {seconds:g} s"))
            self.cancel()
            return
        self._notice(Notice(f"suspending '{self.name}': not ended within {seconds:g} s"))
        try:
            await self._client.call(remote_domain.DOMAIN_SUSPEND, shapes.DomainArgs(self._dom))
        except errors.RequestError as err:
            if not self._over.is_set():
                self._notice(Notice(f"suspending '{self.name}' failed: {err}"))

    async def _postcopy(self) -> None:
        """Go over to post-copy as soon as all of the memory has gone once (as virsh does, in iteration 2)."""
        while self._options.postcopy_after_precopy and not await self._over_within(POLL_SECONDS):
            with contextlib.suppress(errors.RequestError):
                found = await self._job()
                if int(found.values.get(JobStat.MEMORY_ITERATION, 0)) >= POSTCOPY_ITERATION:
                    await self._start_postcopy()
                    return

    async def _start_postcopy(self) -> None:
        try:
            args = shapes.DomainFlagsArgs(self._dom, 0)
            await self._client.call(remote_job.DOMAIN_MIGRATE_START_POST_COPY, args)
        except errors.RequestError as err:
            if not self._over.is_set():
                self._notice(Notice(f"going over to post-copy failed: {err}"))

    async def _facts(self) -> Facts:
        destination = str(self.destination)
        async with asyncio.TaskGroup() as group:
            here = group.create_task(whereabouts.look_or_ask(self._client, self._dom.uuid), name="ask source")
            there = group.create_task(whereabouts.ask(destination, self._dom.uuid), name="ask destination")
        return Facts(
            name=self.name,
            source=str(self.source),
            destination=destination,
            at_source=here.result(),
            at_destination=there.result(),
            destination_name=self._options.dname,
            error=self._error,
            cancelled=self._cancelled.is_set() or self._aborted,
            left=not self._answered,
            offline=self._options.offline,
        )

    async def _figures(self) -> Progress | None:
        """The finished job's: from the source, or for a domain that is gone there from the destination."""
        with contextlib.suppress(errors.RequestError):
            return (await self._job(job.LAST)).progress
        with contextlib.suppress(errors.RequestError):
            async with target.opened(self.destination, timeout=CALL_SECONDS) as destination:
                return (await job.stats(destination, self._dom, job.LAST, CALL_SECONDS)).progress
        return None

    async def _look(self) -> Progress | None:
        """A look that fails, or comes after the end, is left out: the figures are not the migration."""
        with contextlib.suppress(errors.RequestError):
            found = await self._job()
            return None if self._over.is_set() else found.progress
        return None

    async def _job(self, flags: int = 0) -> job.JobInfo:
        return await job.stats(self._client, self._dom, flags, CALL_SECONDS)

    async def _over_within(self, seconds: float) -> bool:
        """Wait for the end, at most so long; answers whether it has come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
        return self._over.is_set()

    async def _unless_over(self, wanted: Coroutine[Any, Any, R]) -> R | None:
        """What ``wanted``, which raises nothing, answers; None when the end comes first."""
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(wanted, name="wanted")
            over = group.create_task(self._over.wait(), name="over")
            await asyncio.wait((asked, over), return_when=asyncio.FIRST_COMPLETED)
            for task in (asked, over):
                task.cancel()
        return None if asked.cancelled() else asked.result()


@asynccontextmanager
async def migrating(migration: Migration) -> AsyncIterator[Migration]:
    """``migration`` under way for the length of the block; the end of the block waits for it, and asks both sides.

    Raises ``NotArrived`` when the guest is not at the destination then. A block that raises, or is cancelled, aborts
    the migration and waits in the same way, and what it raised goes on with the verdict in its notes. A second
    cancellation leaves the migration to itself and asks where the guest is; a third does not wait for that either.
    """
    caught: BaseException | None = None
    async with asyncio.TaskGroup() as group:
        driver = group.create_task(migration.drive(), name=f"migrate {migration.name}")
        steps: Iterator[Callable[[], object]] = iter((migration.cancel, migration.leave))
        try:
            yield migration
        except asyncio.CancelledError as err:
            caught = err
            next(steps)()
        except BaseException as err:
            caught = err
            migration.cancel()
        while not driver.done():
            try:
                await asyncio.wait([driver])
            except asyncio.CancelledError as err:
                caught = err
                next(steps, driver.cancel)()
    # Outside the group, which would wrap what the block has raised.
    if caught is not None:
        if migration.is_known:
            caught.add_note(migration.verdict.words)
        raise caught
    if not migration.verdict.arrived:
        raise NotArrived(migration.verdict)
