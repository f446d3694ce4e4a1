"""Everything the command line does with domains, except moving them: each function is one command's work."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from uuid import UUID

from culvert.cli import history, target, whereabouts
from culvert.cli.progress import Progress
from culvert.cli.verdict import Place, Sighting, state_words
from culvert.ground import errors
from culvert.ground.uri import ConnectionURI
from culvert.protocol import remote_domain, remote_job, remote_list, shapes, typed_params, types
from culvert.protocol.constants_flag import JobStatsFlag, ListFlag
from culvert.protocol.constants_migrate import JobType
from culvert.protocol.typed_params import Value
from culvert.rpc import client as rpc

ABORT_SECONDS = 60.0  # until an aborted job has gone
POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of ``culvert list``; ``id`` is None for a domain without a process.

    ``waits_for``: what a guest does that stands still until it is known where it runs.
    """

    id: int | None
    name: str
    uuid: str
    state: str
    waits_for: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """What the daemon tells of a job; ``values`` by libvirt's names."""

    type: str
    values: dict[str, Value]
    progress: Progress | None


async def listing(uri: ConnectionURI, *, everything: bool) -> list[Listed]:
    """The active domains, or all; by name."""
    flags = ListFlag.ACTIVE | ListFlag.INACTIVE if everything else ListFlag.ACTIVE
    async with target.opened(uri) as client:
        found = await client.call(remote_list.CONNECT_LIST_ALL_DOMAINS, shapes.ListAllArgs(1, int(flags)))
        waits = {each.uuid: each for each in await history.waiting(client)}
        lines = []
        for dom in sorted(found.domains, key=lambda dom: dom.name):
            # A domain may go between the two questions; then it is no longer one to be listed.
            with contextlib.suppress(errors.RemoteError):
                state = await client.call(remote_domain.DOMAIN_GET_STATE, shapes.DomainFlagsArgs(dom, 0))
                words = state_words(state.state, state.reason)
                waiting = waits.pop(uuid := UUID(bytes=dom.uuid), None)
                why = waiting.why if waiting is not None else ""
                lines.append(Listed(None if dom.id < 0 else dom.id, dom.name, str(uuid), words, why))
        # Of a transient domain whose QEMU has gone nothing is left but what is waited for.
        lines += [Listed(None, each.name, str(uuid), "no state", each.why) for uuid, each in waits.items()]
    return lines


async def define(uri: ConnectionURI, xml: str) -> str:
    """Define a domain; answers the last words."""
    async with target.opened(uri) as client:
        dom = (await client.call(remote_domain.DOMAIN_DEFINE_XML, shapes.XMLArgs(xml))).dom
        seen = await whereabouts.look(client, dom.uuid)
    return f"domain '{dom.name}' is defined at {uri}, {seen.state or seen.why}"


async def start(uri: ConnectionURI, domain: str) -> str:
    """Start a defined domain; answers the last words."""
    async with target.opened(uri) as client:
        dom = await target.find(client, domain)
        await client.call(remote_domain.DOMAIN_CREATE, shapes.DomainArgs(dom))
        return _now(dom, uri, await whereabouts.look(client, dom.uuid))


async def destroy(uri: ConnectionURI, domain: str) -> str:
    """End a guest at once, as pulling its plug would; answers the last words."""
    async with target.opened(uri) as client:
        dom = await target.find(client, domain)
        await client.call(remote_domain.DOMAIN_DESTROY, shapes.DomainArgs(dom))
        return _now(dom, uri, await whereabouts.look(client, dom.uuid))


async def job(uri: ConnectionURI, domain: str, *, completed: bool) -> Job:
    """The job under way, or the last one that ended (which stays to be asked for again)."""
    flags = JobStatsFlag.COMPLETED | JobStatsFlag.KEEP_COMPLETED if completed else 0
    async with target.opened(uri) as client:
        dom = await target.find(client, domain)
        stats = await client.call(remote_job.DOMAIN_GET_JOB_STATS, shapes.DomainFlagsArgs(dom, int(flags)))
    kind = JobType(stats.type).name.lower() if stats.type in list(JobType) else f"type {stats.type}"
    return Job(kind, typed_params.loose(stats.params), Progress.from_stats(stats))


async def abort(uri: ConnectionURI, domain: str) -> str:
    """Abort the job under way and wait until it has gone; answers the last words.

    Raises ``errors.OperationTimeout`` when it has not gone in time: then it may still end either way.
    """
    async with target.opened(uri) as client:
        dom = await target.find(client, domain)
        await client.call(remote_job.DOMAIN_ABORT_JOB, shapes.DomainArgs(dom))
        try:
            async with asyncio.timeout(ABORT_SECONDS):
                while True:
                    if not await _has_job(client, dom):
                        break
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise errors.OperationTimeout(
                f"the job of domain '{domain}' was told to abort, but has not ended within {ABORT_SECONDS:g} s; "
                f"see 'culvert job {domain}'"
            ) from None
        return _now(dom, uri, await whereabouts.look(client, dom.uuid))


async def _has_job(client: rpc.Client, dom: types.Domain) -> bool:
    try:
        stats = await client.call(remote_job.DOMAIN_GET_JOB_STATS, shapes.DomainFlagsArgs(dom, 0))
    except errors.RemoteError as err:
        if errors.triple(err)[0] == errors.ErrorCode.NO_DOMAIN:
            return False  # it moved before the abort could reach it
        raise
    return stats.type in (JobType.BOUNDED, JobType.UNBOUNDED)


def _now(dom: types.Domain, uri: ConnectionURI, seen: Sighting) -> str:
    """Where the guest is, as the daemon that was asked sees it."""
    words = {
        Place.ACTIVE: f"guest '{dom.name}' is {seen.state} at {uri}",
        Place.INACTIVE: f"domain '{dom.name}' is {seen.state} at {uri}",
        Place.ABSENT: f"domain '{dom.name}' is no longer at {uri}",
        Place.UNKNOWN: f"it is not known what domain '{dom.name}' does at {uri}: {seen.why}",
    }
    return words[seen.place]
