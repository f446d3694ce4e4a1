"""A guest that stands still while something is done with it, and goes on afterwards, whoever sees the end of that.

That it is to go on is kept with the run: a daemon that finds it so lets it go on as soon as QEMU has done what it was
told, or has given it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.run import Run
from culvert.ground import errors
from culvert.io import fault_points
from culvert.protocol.constants_state import DomainState, PausedReason, RunningReason

log = logging.getLogger(__name__)

KEY = "goes-on"  # of the run's annotations
SIDE, POINT = "snapshot", "standing"  # of the fault point
JOB_POLL = 0.2  # seconds
OVER = frozenset({"concluded", "null"})


@dataclass(frozen=True, slots=True)
class SnapshotJob:
    """What the domain is busy with meanwhile."""

    description: str = "snapshot"


@contextlib.asynccontextmanager
async def still(domain: Domain, run: Run) -> AsyncIterator[None]:
    """The guest stands still inside, and is busy; it goes on afterwards if it ran, whatever has happened."""
    ran = domain.state is DomainState.RUNNING
    domain.job = SnapshotJob()
    run.stop_reason = PausedReason.SAVE
    try:
        if ran:
            await domain.annotate(KEY, "snapshot")
            await domain.monitor.execute("stop")
        await fault_points.reach(SIDE, POINT)
        yield
    finally:
        run.stop_reason = None
        domain.job = None
        if ran and domain.run is run and run.ending is None:
            await _go_on(domain, run, RunningReason.UNPAUSED)


async def _go_on(domain: Domain, run: Run, reason: RunningReason) -> None:
    run.resume_reason = reason
    await domain.monitor.execute("cont")
    await domain.annotate(KEY, "")


def found(domain: Domain, run: Run) -> None:
    """For a run that was taken over: if an earlier daemon has let it stand, it goes on once QEMU is done."""
    if KEY in domain.annotations:
        log.warning("domain=%s was standing still for the last daemon's sake: it goes on", domain.name)
        domain.host.spawn(_when_done(domain, run), name=f"goes-on-{domain.name}")


async def _when_done(domain: Domain, run: Run) -> None:
    try:
        while True:
            jobs = await domain.monitor.execute("query-jobs")
            ours = [job for job in jobs if str(job.get("id", "")).startswith("snapshot-")]
            if all(job.get("status") in OVER for job in ours):
                break
            await asyncio.sleep(JOB_POLL)
        for job in ours:
            with contextlib.suppress(errors.RequestError):
                await domain.monitor.execute("job-dismiss", {"id": job["id"]})
        if domain.run is run and domain.state is DomainState.PAUSED:
            await _go_on(domain, run, RunningReason.SAVE_CANCELED)
        else:
            await domain.annotate(KEY, "")
    except errors.RequestError as err:
        log.error("domain=%s stays paused reason=%r", domain.name, str(err))
