"""The history as people read it, and what an operator is told before deciding where a guest runs."""

from __future__ import annotations

from datetime import datetime

from culvert import client
from culvert.client import Record, WaitingGuest
from culvert.ground.uri import ConnectionURI

ARROWS = {"out": "→", "in": "←"}


async def records(uri: ConnectionURI, domain: str, limit: int) -> list[Record]:
    """The newest records first; of one domain (name or UUID), or of all with an empty ``domain``."""
    async with client.connect(uri) as host:
        return await host.history(domain, limit)


async def record(uri: ConnectionURI, number: int) -> Record:
    """One record with its lines. Raises ``errors.RemoteError`` when there is none."""
    async with client.connect(uri) as host:
        return await host.record(number)


async def find_waiting(uri: ConnectionURI, domain: str) -> WaitingGuest:
    """The guest called ``domain``, which waits. Raises ``errors.OperationInvalid`` if it does not."""
    async with client.connect(uri) as host:
        return await host.find_waiting(domain)


async def resolve(uri: ConnectionURI, guest: WaitingGuest, *, here: bool) -> str:
    """Decide where ``guest`` runs; answers the last words. Raises ``errors.RemoteError`` when that is refused."""
    async with client.connect(uri) as host:
        await host.resolve(guest, here=here)
    decided = f"goes on at {uri}" if here else "is the destination's; the copy that stood still here is gone"
    return f"guest '{guest.name}' {decided}"


def warning(guest: WaitingGuest, *, here: bool) -> str:
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
    return found.step if found.over else f"{found.step} (not over)"


def lines(found: Record) -> list[str]:
    """One record as text."""
    took = "" if found.ended is None else f", {found.ended - found.began:.3f} s"
    text = [
        f"migration {found.id} of domain '{found.domain}' ({found.uuid})",
        f"  attempt   {found.attempt}",
        f"  {'to' if found.direction == 'out' else 'from':<8}  {found.peer or '-'}",
        f"  route     {found.route or '-'}",
        f"  outcome   {outcome(found)}{took}",
    ]
    if found.cause:
        text.append(f"  cause     {found.cause}")
    for line in found.lines:
        text.append(f"  {time(line.at)}  {line.step or '':<20}{line.text}".rstrip())
    for name, value in found.figures.items():
        text.append(f"    {name:<26} {value}")
    return text
