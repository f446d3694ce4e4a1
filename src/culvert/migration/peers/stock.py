"""A destination that is no culvert: what it cannot take, and what it can say of a guest when an answer was lost.

It knows nothing of attempts, so it cannot be asked what became of one, and asking settles nothing there. It can be
asked how the domain of that UUID stands. That answers one way only: a guest that runs there has arrived. One that is
not there (any more) may have been given up, or may have run there and ended since; resuming the copy here would set
it back in time. Nobody here can know, so it stays paused and a person decides.

Source: qemu/qemu_migration.c and qemu/qemu_process.c of libvirt 9.0 (qemuProcessAutoDestroy: a libvirtd that loses
the source's connection kills the guest that had not arrived, at the latest when the call that it works on is over).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from culvert.domain.definition import DomainDef
from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.migration.peers import peer
from culvert.protocol import types
from culvert.protocol.constants_state import DomainState, PausedReason

log = logging.getLogger(__name__)

# How long a guest must have been seen running there before the copy here goes: a libvirtd that works on finish while
# it loses the connection may kill the guest that it has just let run.
LOOK_AGAIN = 1.5  # seconds between two looks
LOOKS = 3  # times in a row

TIDY_TIMEOUT = 15.0  # seconds
TIDY_PAUSE = 0.5  # seconds between two looks for a guest that nobody waits for
TIDY_LOOKS = 4  # times; its QEMU is started in a quarter of a second


def check(definition: DomainDef, destination: object) -> None:
    """Raise ``errors.ConfigUnsupported`` for a guest that libvirt 9.0 would not start in the same shape.

    libvirt gives QEMU ``-m`` in whole MiB and takes the size of an arriving guest as it is told.
    """
    if definition.memory * 1024 % MiB:
        raise errors.ConfigUnsupported(
            f"domain '{definition.name}' cannot migrate to {destination}, which is a libvirtd: its memory of"
            f" {definition.memory} KiB is no whole number of MiB (/domain/memory)"
        )


async def has_arrived(where: str, asked: types.Domain, dialler: peer.Dialler) -> bool:
    """Look at how the guest stands at ``where`` until it is certain that it runs there; False: nobody can know.

    Raises what connecting raises: then it can be tried again.
    """
    seen = 0
    async with dialler.connect(where) as destination:
        while seen < LOOKS:
            match await _state(destination, asked):
                case (DomainState.PAUSED, PausedReason.MIGRATION):
                    seen = 0  # it works on finish, or is about to give up
                case (DomainState.RUNNING | DomainState.PAUSED, _):
                    seen += 1
                case _:
                    return False
            await asyncio.sleep(LOOK_AGAIN)
    return True


async def tidy(
    where: str, asked: types.Domain, dialler: peer.Dialler, finish: Callable[[peer.Peer], Awaitable[Any]]
) -> None:
    """Prepare was under way there when nobody waited for it any more: have it undone, if there is anything to undo.

    A libvirtd 9.0 whose connection ends while it prepares keeps the guest that waits, and would refuse the next
    attempt. ``finish`` calls it off. Best effort: what stays there runs nothing, and is named in the log.
    """
    try:
        async with asyncio.timeout(TIDY_TIMEOUT), dialler.connect(where) as destination:
            for _ in range(TIDY_LOOKS):
                await asyncio.sleep(TIDY_PAUSE)
                if await _state(destination, asked) == (DomainState.PAUSED, PausedReason.MIGRATION):
                    await finish(destination)
    except errors.RemoteError as err:
        if err.remote_code == errors.ErrorCode.MIGRATE_FINISH_OK:
            return
        _may_be_left(where, asked, err)
    except (errors.RequestError, TimeoutError) as err:
        _may_be_left(where, asked, err)


def _may_be_left(where: str, asked: types.Domain, err: Exception) -> None:
    log.warning(
        "domain=%s %s may keep a paused guest that nobody waits for ('virsh destroy' there): %s",
        *(asked.name, where, err or type(err).__name__),
    )


async def _state(destination: peer.Peer, asked: types.Domain) -> tuple[int, int]:
    try:
        return await destination.state(asked)
    except errors.RemoteError as err:
        if err.remote_code == errors.ErrorCode.NO_DOMAIN:
            return DomainState.SHUTOFF, 0
        raise
