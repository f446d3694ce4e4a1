"""A daemon that only pretends: enough of the REMOTE program for a client, on a real UNIX socket."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid5

from culvert.ground import errors, uri
from culvert.ground.uri import ConnectionURI
from culvert.io.listener import listen_unix
from culvert.protocol import (
    culvert,
    remote,
    remote_connect,
    remote_domain,
    remote_job,
    remote_list,
    remote_migrate,
    shapes,
    typed_params,
    types,
)
from culvert.protocol.constants_migrate import JOB_STATS, JobStat, JobType
from culvert.protocol.constants_state import DomainState
from culvert.rpc.dispatch import Handlers
from culvert.rpc.server import Server
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

# As ``culvert history show --json`` has it.
RECORD = {
    "id": 7,
    "attempt": "a" * 32,
    "direction": "out",
    "domain": "g",
    "uuid": "u",
    "peer": "qemu+tcp://b/system",
    "began": 1_000_000_000.0,
    "ended": 1_000_000_002.5,
    "step": "stayed",
    "over": True,
    "route": "pump",
    "cause": "no room there",
    "figures": {"memory_total": 5},
    "lines": [
        {"at": 1_000_000_000.0, "step": "begin3", "text": ""},
        {"at": 1_000_000_001.0, "step": None, "text": "auto: go on"},
    ],
}

_SPACE = UUID("d9a1f3f0-5a0e-4f43-a2f2-5f1b6a7c0c11")


@dataclass
class Guest:
    """A domain of the fake daemon."""

    name: str
    state: int = DomainState.RUNNING
    reason: int = 1

    @property
    def dom(self) -> types.Domain:
        id = 7 if self.state not in (DomainState.SHUTOFF, DomainState.CRASHED) else -1
        return types.Domain(self.name, uuid5(_SPACE, self.name).bytes, id)


@dataclass
class FakeDaemon:
    """``steps``: what a migration reports, a look at a time; then it ends as ``refusal`` says.

    A migration with ``endless`` set ends only when it is aborted, or when ``released``. One that is ``deaf`` takes an
    abort and does nothing; one that is ``mute`` does not answer where a domain is. With ``host`` it is a culvert.
    """

    path: Path
    host: str = ""
    guests: dict[bytes, Guest] = field(default_factory=dict)
    destination: FakeDaemon | None = None
    refusal: errors.RequestError | None = None
    endless: bool = False
    lose_connection: bool = False
    deaf: bool = False
    mute: bool = False
    waiting: list[tuple[bytes, str, str]] = field(default_factory=list)
    resolved: list[tuple[str, int]] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    aborted: asyncio.Event = field(default_factory=asyncio.Event)
    performing: asyncio.Event = field(default_factory=asyncio.Event)
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    asked_to_abort: asyncio.Event = field(default_factory=asyncio.Event)
    asked_to_look: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[object] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    server: Server | None = None

    @property
    def uri(self) -> ConnectionURI:
        return uri.parse(f"qemu+unix:///system?socket={self.path}")

    def add(self, guest: Guest) -> Guest:
        self.guests[guest.dom.uuid] = guest
        return guest

    def guest_called(self, name: str) -> Guest:
        return next(guest for guest in self.guests.values() if guest.name == name)

    def guest(self, dom: types.Domain) -> Guest:
        if dom.uuid not in self.guests:
            raise errors.NoDomain(f"Domain not found: no domain with matching uuid of '{dom.name}'")
        return self.guests[dom.uuid]

    def handlers(self) -> list[Handlers]:
        rows = Handlers(remote.PROGRAM)
        rows.add(remote_connect.CONNECT_OPEN, self.open)
        rows.add(remote_connect.CONNECT_CLOSE, self.close)
        rows.add(remote_connect.CONNECT_SUPPORTS_FEATURE, self.supports)
        rows.add(remote_list.CONNECT_LIST_ALL_DOMAINS, self.list_all)
        rows.add(remote_list.DOMAIN_LOOKUP_BY_NAME, self.by_name)
        rows.add(remote_list.DOMAIN_LOOKUP_BY_UUID, self.by_uuid)
        rows.add(remote_list.DOMAIN_LOOKUP_BY_ID, self.by_id)
        rows.add(remote_domain.DOMAIN_GET_STATE, self.get_state)
        rows.add(remote_domain.DOMAIN_DEFINE_XML, self.define)
        rows.add(remote_domain.DOMAIN_CREATE, self.create)
        rows.add(remote_domain.DOMAIN_DESTROY, self.destroy)
        rows.add(remote_domain.DOMAIN_SUSPEND, self.suspend)
        rows.add(remote_job.DOMAIN_GET_JOB_STATS, self.job_stats)
        rows.add(remote_job.DOMAIN_ABORT_JOB, self.abort)
        rows.add(remote_migrate.DOMAIN_MIGRATE_PERFORM3_PARAMS, self.perform)
        own = Handlers(culvert.PROGRAM)
        own.add(culvert.HELLO, self.hello)
        own.add(culvert.MIGRATION_HISTORY, self.history)
        own.add(culvert.MIGRATION_SHOW, self.show)
        own.add(culvert.MIGRATION_WAITING, self.waits)
        own.add(culvert.MIGRATION_RESOLVE, self.resolve)
        return [rows, own] if self.host else [rows]

    async def open(self, session: Session, args: remote_connect.ConnectOpenArgs) -> Void:
        session.opened = True
        self.sessions.append(session)
        return Void()

    async def close(self, session: Session, args: Void) -> Void:
        session.close_after_reply()
        return Void()

    async def supports(self, session: Session, args: remote_connect.FeatureArgs) -> remote_connect.FeatureRet:
        return remote_connect.FeatureRet(0)

    async def hello(self, session: Session, args: culvert.HelloArgs) -> culvert.HelloRet:
        return culvert.HelloRet("0", self.host, [])

    async def history(self, session: Session, args: culvert.MigrationHistoryArgs) -> culvert.MigrationHistoryRet:
        return culvert.MigrationHistoryRet([json.dumps(RECORD | {"lines": []})])

    async def show(self, session: Session, args: culvert.MigrationShowArgs) -> culvert.MigrationShowRet:
        if args.number != RECORD["id"]:
            raise errors.InvalidArgument(f"no record {args.number}")
        return culvert.MigrationShowRet(json.dumps(RECORD))

    async def waits(self, session: Session, args: Void) -> culvert.MigrationWaitingRet:
        return culvert.MigrationWaitingRet([culvert.Waiting(name, uuid, why) for uuid, name, why in self.waiting])

    async def resolve(self, session: Session, args: culvert.MigrationResolveArgs) -> Void:
        self.resolved.append((args.dom.name, args.here))
        return Void()

    async def list_all(self, session: Session, args: shapes.ListAllArgs) -> remote_list.DomainsRet:
        found = [guest.dom for guest in self.guests.values() if args.flags & 2 or guest.dom.id >= 0]
        return remote_list.DomainsRet(found, len(found))

    async def by_name(self, session: Session, args: remote_list.NameArgs) -> shapes.DomainRet:
        for guest in self.guests.values():
            if guest.name == args.name:
                return shapes.DomainRet(guest.dom)
        raise errors.NoDomain(f"Domain not found: no domain with matching name '{args.name}'")

    async def by_uuid(self, session: Session, args: remote_list.UUIDArgs) -> shapes.DomainRet:
        self.asked_to_look.set()
        if self.mute:
            await asyncio.Event().wait()
        return shapes.DomainRet(self.guest(types.Domain("", args.uuid, -1)).dom)

    async def by_id(self, session: Session, args: remote_list.IDArgs) -> shapes.DomainRet:
        for guest in self.guests.values():
            if guest.dom.id == args.id:
                return shapes.DomainRet(guest.dom)
        raise errors.NoDomain(f"Domain not found: no domain with matching id {args.id}")

    async def get_state(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_domain.DomainGetStateRet:
        guest = self.guest(args.dom)
        return remote_domain.DomainGetStateRet(guest.state, guest.reason)

    async def define(self, session: Session, args: shapes.XMLArgs) -> shapes.DomainRet:
        found = re.search("<name>(.*)</name>", args.xml)
        if found is None:
            raise errors.XMLError("missing domain name")
        return shapes.DomainRet(self.add(Guest(found[1], DomainState.SHUTOFF, 0)).dom)

    async def create(self, session: Session, args: shapes.DomainArgs) -> Void:
        guest = self.guest(args.dom)
        if guest.dom.id >= 0:
            raise errors.OperationInvalid(f"domain '{guest.name}' is already running")
        guest.state, guest.reason = DomainState.RUNNING, 1
        return Void()

    async def destroy(self, session: Session, args: shapes.DomainArgs) -> Void:
        guest = self.guest(args.dom)
        guest.state, guest.reason = DomainState.SHUTOFF, 2
        return Void()

    async def suspend(self, session: Session, args: shapes.DomainArgs) -> Void:
        self.calls.append("suspend")
        self.released.set()
        return Void()

    async def job_stats(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_job.JobStatsRet:
        kind = JobType.UNBOUNDED if self.performing.is_set() else JobType.NONE
        if args.flags:
            kind = JobType.COMPLETED
        values: list[tuple[str, typed_params.Value]] = [
            (JobStat.TIME_ELAPSED, 1500),
            (JobStat.DOWNTIME, 12),
            (JobStat.DATA_TOTAL, 1000),
            (JobStat.DATA_PROCESSED, 600),
            (JobStat.DATA_REMAINING, 400),
            (JobStat.CULVERT_PHASE, "perform"),
        ]
        guest = self.guest(args.dom)
        self.looked.set()
        if guest.state is DomainState.SHUTOFF and not args.flags:
            raise errors.OperationInvalid("domain is not running")
        return remote_job.JobStatsRet(kind, typed_params.encode(values, JOB_STATS) if kind else [])

    async def abort(self, session: Session, args: shapes.DomainArgs) -> Void:
        if not self.performing.is_set():
            raise errors.OperationInvalid("no job is active on the domain")
        self.asked_to_abort.set()
        if self.deaf:
            return Void()
        self.aborted.set()
        self.performing.clear()
        return Void()

    async def perform(self, session: Session, args: remote_migrate.Perform3ParamsArgs) -> shapes.CookieRet:
        self.calls.append(args)
        guest = self.guest(args.dom)
        self.performing.set()
        try:
            if self.lose_connection:
                session.disconnect("the test wants it")
                await asyncio.Event().wait()
            if self.endless:
                async with asyncio.TaskGroup() as group:
                    ends = [group.create_task(e.wait(), name="end") for e in (self.aborted, self.released)]
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                    for end in ends:
                        end.cancel()
                if self.aborted.is_set():
                    raise errors.OperationAborted("operation aborted: job 'migration out' canceled by client")
            else:
                await self.looked.wait()
            if self.refusal is not None:
                raise self.refusal
        finally:
            self.performing.clear()
        del self.guests[args.dom.uuid]
        if self.destination is not None:
            self.destination.add(Guest(guest.name, DomainState.RUNNING, 2))
        return shapes.CookieRet(b"")


@asynccontextmanager
async def serving(daemon: FakeDaemon) -> AsyncIterator[FakeDaemon]:
    """The fake daemon, reachable at ``daemon.uri`` for the length of the block."""
    async with Server(daemon.handlers()) as server:
        daemon.server = server
        server.listen(await listen_unix(daemon.path))
        yield daemon
