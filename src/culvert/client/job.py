"""The job of a domain: looked at, watched, aborted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from culvert.client import target, whereabouts
from culvert.client.progress import Progress
from culvert.client.whereabouts import Whereabouts
from culvert.ground import errors
from culvert.protocol import remote_job, shapes, typed_params, types
from culvert.protocol.constants_flag import JobStatsFlag
from culvert.protocol.constants_migrate import JobType
from culvert.protocol.typed_params import Value
from culvert.rpc import client as rpc

ABORT_SECONDS = 60.0  # until an aborted job has gone
ABORT_POLL_SECONDS = 0.25
WATCH_SECONDS = 0.5
LAST = int(JobStatsFlag.COMPLETED | JobStatsFlag.KEEP_COMPLETED)
"""Asks for the last job that ended, which stays to be asked for again."""


class JobGoesOn(errors.OperationTimeout):
    """A job was told to abort and has not ended in time: it may still end either way."""


@dataclass(frozen=True, slots=True)
class JobInfo:
    """What the daemon tells of a job. ``type``: libvirt's word ("none", "unbounded", "completed"); ``values`` by
    libvirt's names; ``progress``: the same, read; None when there is no job. ``running``: whether it is under way."""

    type: str
    values: Mapping[str, Value]
    progress: Progress | None
    running: bool = False


async def stats(client: rpc.Client, dom: types.Domain, flags: int = 0, timeout: float | None = None) -> JobInfo:
    """The job under way, or with ``LAST`` the last one that ended. A domain that does not run is in none."""
    args = shapes.DomainFlagsArgs(dom, flags)
    try:
        told = await client.call(remote_job.DOMAIN_GET_JOB_STATS, args, timeout)
    except errors.RemoteError as err:
        if flags or errors.triple(err)[0] != errors.ErrorCode.OPERATION_INVALID:
            raise
        told = remote_job.JobStatsRet(int(JobType.NONE), [])
    kind = JobType(told.type).name.lower() if told.type in list(JobType) else f"type {told.type}"
    running = told.type in (JobType.BOUNDED, JobType.UNBOUNDED)
    return JobInfo(kind, typed_params.loose(told.params), Progress.from_stats(told), running)


async def watch(client: rpc.Client, domain: str) -> AsyncIterator[Progress]:
    """Looks at the job of ``domain``, until it has none or has gone (with the guest, it may be)."""
    dom = await target.find(client, domain)
    while (found := await _of_one_that_may_go(client, dom)) is not None and found.running:
        if found.progress is not None:
            yield found.progress
        await asyncio.sleep(WATCH_SECONDS)


async def abort(client: rpc.Client, domain: str) -> Whereabouts:
    """Abort the job under way and wait until it has gone."""
    dom = await target.find(client, domain)
    await client.call(remote_job.DOMAIN_ABORT_JOB, shapes.DomainArgs(dom))
    try:
        async with asyncio.timeout(ABORT_SECONDS):
            while True:
                found = await _of_one_that_may_go(client, dom)
                if found is None or not found.running:
                    break
                await asyncio.sleep(ABORT_POLL_SECONDS)
    except TimeoutError:
        raise JobGoesOn(
            f"the job of domain '{domain}' was told to abort, but has not ended within {ABORT_SECONDS:g} s"
        ) from None
    return await whereabouts.now(client, dom)


async def _of_one_that_may_go(client: rpc.Client, dom: types.Domain) -> JobInfo | None:
    """None: the domain is not there any more, it has moved."""
    try:
        return await stats(client, dom)
    except errors.RemoteError as err:
        if errors.triple(err)[0] == errors.ErrorCode.NO_DOMAIN:
            return None
        raise
