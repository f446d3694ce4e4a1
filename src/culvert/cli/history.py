"""What a daemon's journal tells of migrations, and an operator's word where a guest waits for one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from culvert.cli import target
from culvert.ground import errors
from culvert.ground.uri import ConnectionURI
from culvert.protocol import culvert, types
from culvert.protocol.errors import is_unsupported
from culvert.rpc.client import Client

Record = dict[str, Any]
"""A record as ``migration.journal.history.Entry.as_json`` has it."""

ARROWS = {"out": "→", "in": "←"}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A guest that stands still until it is known where it runs; ``why``: what is waited for."""

    name: str
    uuid: UUID
    why: str


async def records(uri: ConnectionURI, domain: str, limit: int) -> list[Record]:
    """The newest records first; of one domain (name or UUID), or of all with an empty ``domain``."""
    async with target.opened(uri) as client:
        answer = await client.call(culvert.MIGRATION_HISTORY, culvert.MigrationHistoryArgs(domain, limit))
    return [json.loads(text) for text in answer.records]


async def record(uri: ConnectionURI, number: int) -> Record:
    """One record with its lines. Raises ``errors.RemoteError`` when there is none."""
    async with target.opened(uri) as client:
        answer = await client.call(culvert.MIGRATION_SHOW, culvert.MigrationShowArgs(number))
    found: Record = json.loads(answer.record)
    return found


async def waiting(client: Client) -> list[Waiting]:
    """The guests of a daemon that wait; none where the daemon is no culvert."""
    try:
        answer = await client.call(culvert.MIGRATION_WAITING, culvert.NOTHING)
    except errors.RemoteError as err:
        if is_unsupported(err):
            return []
        raise
    return [Waiting(each.name, UUID(bytes=each.uuid), each.why) for each in answer.waiting]


async def find_waiting(uri: ConnectionURI, domain: str) -> Waiting:
    """The guest called ``domain`` (name or UUID), which waits. Raises ``errors.OperationInvalid`` if it does not."""
    async with target.opened(uri) as client:
        for each in await waiting(client):
            if domain in (each.name, str(each.uuid)):
                return each
    raise errors.OperationInvalid(f"no migration of a domain '{domain}' waits for a decision at {uri}")


async def resolve(uri: ConnectionURI, guest: Waiting, *, here: bool) -> str:
    """Decide where ``guest`` runs; answers the last words. Raises ``errors.RemoteError`` when that is refused."""
    async with target.opened(uri) as client:
        dom = types.Domain(guest.name, guest.uuid.bytes, -1)
        await client.call(culvert.MIGRATION_RESOLVE, culvert.MigrationResolveArgs(dom, int(here)))
    decided = f"goes on at {uri}" if here else "is the destination's; the copy that stood still here is gone"
    return f"guest '{guest.name}' {decided}"


def warning(guest: Waiting, *, here: bool) -> str:
    """What there is to know before one decides."""
    if here:
        return (
            f"guest '{guest.name}' is {guest.why}\n"
            "If it runs at the destination it will run twice, on the same disks. Decide so only when the destination"
            " host is off, or when you have seen that the guest does not run there."
        )
    return (
        f"guest '{guest.name}' is {guest.why}\n"
        "The copy here will be ended; if the guest does not run at the destination it is lost. Decide so only when"
        " you have seen it run there."
    )


def time(seconds: float | None) -> str:
    """A time of a record, for people, in local time."""
    return "" if seconds is None else datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "milliseconds")


def outcome(found: Record) -> str:
    """How it ended, or where it stands."""
    return str(found["step"]) if found["over"] else f"{found['step']} (not over)"


def lines(found: Record) -> list[str]:
    """One record as text."""
    took = "" if found["ended"] is None else f", {found['ended'] - found['began']:.3f} s"
    text = [
        f"migration {found['id']} of domain '{found['domain']}' ({found['uuid']})",
        f"  attempt   {found['attempt']}",
        f"  {'to' if found['direction'] == 'out' else 'from':<8}  {found['peer'] or '-'}",
        f"  route     {found['route'] or '-'}",
        f"  outcome   {outcome(found)}{took}",
    ]
    if found["cause"]:
        text.append(f"  cause     {found['cause']}")
    for line in found["lines"]:
        text.append(f"  {time(line['at'])}  {line['step'] or '':<20}{line['text']}".rstrip())
    for name, value in found["figures"].items():
        text.append(f"    {name:<26} {value}")
    return text
