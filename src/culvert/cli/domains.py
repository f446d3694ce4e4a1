"""The commands about domains, except moving them: each function is one command's work, and answers its last words."""

from __future__ import annotations

from culvert import client
from culvert.client import Domain, JobInfo, Place, Whereabouts
from culvert.ground import errors
from culvert.ground.uri import ConnectionURI


async def listing(uri: ConnectionURI, *, everything: bool) -> list[Domain]:
    """The active domains, or all; by name."""
    async with client.connect(uri) as host:
        return await host.domains(everything=everything)


async def define(uri: ConnectionURI, xml: str) -> str:
    """Define a domain."""
    async with client.connect(uri) as host:
        found = await host.define(xml)
    return f"domain '{found.name}' is defined at {uri}, {found.seen.state or found.seen.why}"


async def start(uri: ConnectionURI, domain: str) -> str:
    """Start a defined domain."""
    async with client.connect(uri) as host:
        return _now(await host.start(domain), uri)


async def destroy(uri: ConnectionURI, domain: str) -> str:
    """End a guest at once."""
    async with client.connect(uri) as host:
        return _now(await host.destroy(domain), uri)


async def job(uri: ConnectionURI, domain: str, *, completed: bool) -> JobInfo:
    """The job under way, or the last one that ended."""
    async with client.connect(uri) as host:
        return await host.job(domain, completed=completed)


async def abort(uri: ConnectionURI, domain: str) -> str:
    """Abort the job under way and wait until it has gone. Raises ``errors.OperationTimeout`` when it does not go."""
    try:
        async with client.connect(uri) as host:
            return _now(await host.abort(domain), uri)
    except client.JobGoesOn as err:
        raise errors.OperationTimeout(f"{err}; see 'culvert job {domain}'") from err


def _now(found: Whereabouts, uri: ConnectionURI) -> str:
    """Where the guest is, as the daemon that was asked sees it."""
    words = {
        Place.ACTIVE: f"guest '{found.name}' is {found.seen.state} at {uri}",
        Place.INACTIVE: f"domain '{found.name}' is {found.seen.state} at {uri}",
        Place.ABSENT: f"domain '{found.name}' is no longer at {uri}",
        Place.UNKNOWN: f"it is not known what domain '{found.name}' does at {uri}: {found.seen.why}",
    }
    return words[found.seen.place]
