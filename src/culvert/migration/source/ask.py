"""One question to the destination: what became of the guest? The source asks until it knows, and never guesses.

Where the guest goes on here the destination is told so first (``off``): its half may be one that it cannot give up by
itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from culvert.ground import errors
from culvert.migration.handover.machine_source import Event
from culvert.migration.journal.history import Begun
from culvert.migration.options import grant
from culvert.migration.peers import native, peer, stock
from culvert.protocol import types
from culvert.protocol.culvert import Outcome
from culvert.protocol.errors import is_unsupported

WORDS = {
    Outcome.UNKNOWN: Event.WORD_UNKNOWN,
    Outcome.PENDING: Event.WORD_PENDING,
    Outcome.RUNNING: Event.WORD_RUNNING,
    Outcome.GONE: Event.WORD_GONE,
    Outcome.LOST: Event.WORD_LOST,
    Outcome.POSTCOPY: Event.WORD_POSTCOPY,
}


CallOff = Callable[[peer.Peer], Awaitable[None]]
"""FINISH3, cancelled, to the daemon at the other end. Raises its answer, and what else went wrong."""


async def word(
    where: str, asked: types.Domain, begun: Begun, dialler: peer.Dialler, *, off: CallOff | None = None
) -> tuple[Event, str]:
    """The destination's word on the attempt ``begun``, and in words why: one of ``WORDS``, or UNREACHABLE.

    A libvirtd cannot be asked for an attempt; what ``stock`` sees of the guest there stands for its word. Behind a
    QEMU's own port there is nobody to ask.
    """
    if native.is_address(where):
        return Event.WORD_UNKNOWN, f"{where} is a QEMU's own port, where nobody answers questions"
    try:
        async with dialler.connect(where, hypervisor=off is not None) as destination:
            if off is not None:
                with contextlib.suppress(errors.RemoteError):  # what became of it is asked next
                    await off(destination)
            outcome, detail = await destination.outcome(asked, begun.key.attempt, grant.seal(begun.secret))
    except errors.RequestError as err:
        if not is_unsupported(err):
            return Event.UNREACHABLE, str(err)
    else:
        return WORDS[outcome], detail
    try:
        arrived = await stock.has_arrived(where, asked, dialler)
    except errors.RequestError as err:
        return Event.UNREACHABLE, str(err)
    if arrived:
        return Event.WORD_RUNNING, ""
    return Event.WORD_UNKNOWN, "it is a libvirtd, which keeps no record of a guest that does not run there"
