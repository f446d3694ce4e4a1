"""One daemon, connected to: what can be asked of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from culvert.client import domains, history, job, target, whereabouts
from culvert.client.domains import Domain
from culvert.client.history import Record, WaitingGuest
from culvert.client.job import JobInfo
from culvert.client.migration import Migration, Notice, migrating, unheard
from culvert.client.options import MigrateOptions
from culvert.client.progress import Progress
from culvert.client.sighting import Place, Sighting
from culvert.client.whereabouts import Whereabouts
from culvert.ground import errors
from culvert.ground import uri as uris
from culvert.ground.uri import ConnectionURI
from culvert.rpc import client as rpc

USUAL = MigrateOptions()


class Host:
    """A daemon, by an open connection that ``connect`` has made; any number of calls may be under way on it.

    ``domain`` is a name, a UUID or an id everywhere. Every method raises ``errors.RemoteError`` with what the daemon
    refuses (NO_DOMAIN for a domain it does not have), ``errors.OperationTimeout`` when it does not answer and
    ``errors.ConnectionLost``, all of them ``errors.RequestError``; what else one raises is said there.
    """

    def __init__(self, client: rpc.Client) -> None:
        self._client = client

    @property
    def uri(self) -> ConnectionURI:
        """Where the daemon is."""
        return self._client.uri

    async def domains(self, *, everything: bool = False) -> list[Domain]:
        """The active domains, with ``everything`` also those that are shut off; by name."""
        return await domains.listing(self._client, everything=everything)

    async def where(self, domain: str) -> Sighting:
        """What this daemon says of ``domain`` now. That it has none, or does not answer, is an answer too."""
        try:
            dom = await target.find(self._client, domain)
        except errors.RequestError as err:
            if errors.triple(err)[0] == errors.ErrorCode.NO_DOMAIN:
                return Sighting(Place.ABSENT)
            return Sighting(Place.UNKNOWN, why=str(err))
        return await whereabouts.look(self._client, dom.uuid)

    async def define(self, xml: str) -> Whereabouts:
        """Define a domain."""
        return await domains.define(self._client, xml)

    async def start(self, domain: str) -> Whereabouts:
        """Start a defined domain."""
        return await domains.start(self._client, domain)

    async def destroy(self, domain: str) -> Whereabouts:
        """End a guest at once, as pulling its plug would."""
        return await domains.destroy(self._client, domain)

    @asynccontextmanager
    async def migrate(
        self,
        domain: str,
        destination: ConnectionURI | str,
        options: MigrateOptions = USUAL,
        *,
        notice: Callable[[Notice], object] = unheard,
    ) -> AsyncIterator[Migration]:
        """Migrate ``domain`` to the daemon at ``destination``, which the source's daemon connects to itself.

        The migration is under way for the length of the block: iterate over it to see its progress. The end of the
        block waits for the end of the migration, and asks both sides where the guest is (``Migration.verdict``).

        Raises ``NotArrived``, which has the verdict, when the guest is not at the destination then; before anything
        was begun ``errors.InvalidArgument`` for a URI or options that make no sense. A block that raises or is
        cancelled aborts the migration, waits for its end and asks as well; then what it raised goes on, with the
        last words in its notes. Cancelled once more it does not wait for the end, only for the answers; a third time
        not for those either, and then there is no verdict.

        ``notice`` is called with what a person should know at once; it must not block.
        """
        if problem := options.problem():
            raise errors.InvalidArgument(problem)
        to = options.toward(uris.parse(destination) if isinstance(destination, str) else destination)
        dom = await target.find(self._client, domain)
        async with migrating(Migration(self._client, dom, to, options, notice)) as migration:
            yield migration

    async def job(self, domain: str, *, completed: bool = False) -> JobInfo:
        """The job under way, or the last one that ended (which stays to be asked for again)."""
        dom = await target.find(self._client, domain)
        return await job.stats(self._client, dom, job.LAST if completed else 0)

    def watch(self, domain: str) -> AsyncIterator[Progress]:
        """Looks at the job under way, whoever has begun it, until there is none or the guest has gone."""
        return job.watch(self._client, domain)

    async def abort(self, domain: str) -> Whereabouts:
        """Abort the job under way, whoever has begun it, and wait until it has gone.

        Raises ``JobGoesOn`` when it has not gone in time: then it may still end either way.
        """
        return await job.abort(self._client, domain)

    async def history(self, domain: str = "", limit: int = 0) -> list[Record]:
        """What migrations there were out of this host and into it, the newest first, without their lines.

        ``domain``: name or UUID, empty for all; ``limit``: so many of them, 0 for as many as one answer holds.
        """
        return await history.records(self._client, domain, limit)

    async def record(self, number: int) -> Record:
        """The migration whose ``Record.id`` is ``number``, with its lines."""
        return await history.record(self._client, number)

    async def waiting(self) -> list[WaitingGuest]:
        """The guests that stand still until it is known where they run."""
        return await history.waiting(self._client)

    async def find_waiting(self, domain: str) -> WaitingGuest:
        """The guest called ``domain`` (name or UUID), which waits.

        Raises ``errors.OperationInvalid`` if it does not.
        """
        return await history.find_waiting(self._client, domain)

    async def resolve(self, guest: WaitingGuest, *, here: bool) -> None:
        """Decide where a guest that waits runs: it goes on ``here``, or its copy here is ended.

        Nobody checks that: a guest that is told to go on here and runs at the destination runs twice, on the same
        disks; one whose copy here is ended and that does not run there is lost.
        """
        await history.resolve(self._client, guest, here=here)


@asynccontextmanager
async def connect(
    uri: ConnectionURI | str | None = None, *, timeout: float = target.CONNECT_SECONDS
) -> AsyncIterator[Host]:
    """The daemon at ``uri`` (without one ``$CULVERT_URI``, or this host's own) for the length of the block.

    Raises ``Unreachable`` when there is no connection to be had within ``timeout`` seconds,
    ``errors.InvalidArgument`` for a URI that cannot be read. What the block raises comes out as it is; afterwards
    everything is closed.
    """
    if uri is None:
        uri = target.default_uri(os.environ, os.getuid())
    async with target.opened(uris.parse(uri) if isinstance(uri, str) else uri, timeout=timeout) as client:
        yield Host(client)
