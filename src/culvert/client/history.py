"""What a daemon's journal tells of migrations, and the guests that wait for an operator's word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from culvert.ground import errors, json_text
from culvert.protocol import culvert, types
from culvert.protocol.errors import is_unsupported
from culvert.rpc import client as rpc


@dataclass(frozen=True, slots=True)
class Line:
    """``at``: seconds since 1970; ``step``: the step that was taken then, None for a remark."""

    at: float
    step: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """One migration out of a host (``direction`` "out") or into it ("in"), as that host's journal has it.

    ``began`` and ``ended`` in seconds since 1970, ``ended`` None before its end; ``step``: the last one; ``over``:
    whether it is; ``figures``: numbers by name; ``lines``: only in what ``Host.record`` answers. ``told``: all that
    the daemon sent, which may be more.
    """

    id: int
    attempt: str
    direction: str
    domain: str
    uuid: str
    peer: str
    began: float
    ended: float | None
    step: str
    over: bool
    route: str
    cause: str
    figures: Mapping[str, int]
    lines: tuple[Line, ...]
    told: Mapping[str, Any]

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read what a daemon sent. Raises ``errors.RpcError`` when it cannot be read."""
        try:
            told: dict[str, Any] = json_text.read(text)
            lines = tuple(Line(line["at"], line["step"], line["text"]) for line in told["lines"])
            names = [name for name in cls.__slots__ if name not in ("lines", "told")]
            return cls(**{name: told[name] for name in names}, lines=lines, told=told)
        except (ValueError, KeyError, TypeError) as err:
            raise errors.RpcError(f"a record of the history cannot be read: {err!r} in {text:.200}") from err

    def as_json(self) -> dict[str, Any]:
        """The object as the daemon sent it."""
        return dict(self.told)


@dataclass(frozen=True, slots=True)
class WaitingGuest:
    """A guest that stands still until it is known where it runs; ``why``: what is waited for."""

    name: str
    uuid: UUID
    why: str


async def records(client: rpc.Client, domain: str, limit: int) -> list[Record]:
    """The newest records first; of one domain (name or UUID), or of all with an empty ``domain``."""
    answer = await client.call(culvert.MIGRATION_HISTORY, culvert.MigrationHistoryArgs(domain, limit))
    return [Record.from_json(text) for text in answer.records]


async def record(client: rpc.Client, number: int) -> Record:
    """One record with its lines. Raises ``errors.RemoteError`` when there is none."""
    answer = await client.call(culvert.MIGRATION_SHOW, culvert.MigrationShowArgs(number))
    return Record.from_json(answer.record)


async def waiting(client: rpc.Client) -> list[WaitingGuest]:
    """The guests of a daemon that wait; none where the daemon is no culvert."""
    try:
        answer = await client.call(culvert.MIGRATION_WAITING, culvert.NOTHING)
    except errors.RemoteError as err:
        if is_unsupported(err):
            return []
        raise
    return [WaitingGuest(each.name, UUID(bytes=each.uuid), each.why) for each in answer.waiting]


async def find_waiting(client: rpc.Client, domain: str) -> WaitingGuest:
    """The guest called ``domain`` (name or UUID), which waits. Raises ``errors.OperationInvalid`` if it does not."""
    for each in await waiting(client):
        if domain in (each.name, str(each.uuid)):
            return each
    raise errors.OperationInvalid(f"no migration of a domain '{domain}' waits for a decision at {client.uri}")


async def resolve(client: rpc.Client, guest: WaitingGuest, *, here: bool) -> None:
    """Decide where ``guest`` runs. Raises ``errors.RemoteError`` when that is refused."""
    dom = types.Domain(guest.name, guest.uuid.bytes, -1)
    await client.call(culvert.MIGRATION_RESOLVE, culvert.MigrationResolveArgs(dom, int(here)))
