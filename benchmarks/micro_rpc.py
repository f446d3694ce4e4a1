"""Calls per second and how long one takes, of culvertd and of libvirtd, over the UNIX socket from one client."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from pathlib import Path
from typing import Any

from benchmarks import spread
from benchmarks.caller import Caller
from benchmarks.lab import Lab
from benchmarks.stage_culvert import CulvertStage
from benchmarks.stage_libvirt import LibvirtStage
from culvert.protocol import remote_connect, remote_domain, shapes
from culvert.protocol.procedure import Procedure
from culvert.rpc import client, prologue
from culvert.xdr.struct import Void
from guests import tiny

Figures = dict[str, float]

SECONDS = 3.0
PIPELINED = 4  # below libvirtd's max_client_requests, 5
DAEMONS = ("culvert", "libvirt")
CALLS = ("get-lib-version", "domain-get-state")
CLIENTS = ("blocking", "pipelined", "culvert")
_GUEST = tiny.TinyParameters(mib=4, dirty_mib=0, pass_s=1e5, hz=19)


def measure(lab: Lab, daemon: str, call: str, by: str) -> Figures:
    """Make the call for some seconds. Raises ``CallFailed``, ``LabError``."""
    stage = lab.stage(daemon)
    assert isinstance(stage, CulvertStage | LibvirtStage)
    with lab.guest(_GUEST) as (guest, follow):
        try:
            stage.boot(guest)
            follow.wait_running()
            path = Path(stage.uris[0].partition("socket=")[2])
            with Caller(path) as caller:
                row, args = _call(caller, call, guest.name)
                if by == "culvert":
                    taken, wall = asyncio.run(_culvert(stage.uris[0], row, args))
                else:
                    taken, wall = _blocking(caller, row, args, PIPELINED if by == "pipelined" else 1)
        finally:
            stage.clear()
    return {
        "calls_per_s": len(taken) / wall,
        "p50_us": spread.percentile(taken, 0.5) * 1e6,
        "p99_us": spread.percentile(taken, 0.99) * 1e6,
    }


def _call(caller: Caller, call: str, name: str) -> tuple[Procedure[Any, Any], object]:
    if call == "get-lib-version":
        return remote_connect.CONNECT_GET_LIB_VERSION, Void()
    return remote_domain.DOMAIN_GET_STATE, shapes.DomainFlagsArgs(caller.domain(name), 0)


def _blocking(caller: Caller, row: Procedure[Any, Any], args: object, depth: int) -> tuple[list[float], float]:
    """Seconds per call, and of all of it; ``depth`` calls are under way at any time."""
    packet = caller.packet(row, args)
    taken: list[float] = []
    sent = deque[float]()
    begun = time.monotonic()
    while True:
        while len(sent) < depth and time.monotonic() - begun < SECONDS:
            sent.append(time.monotonic())
            caller.send(packet)
        if not sent:
            return taken, time.monotonic() - begun
        caller.answer()
        taken.append(time.monotonic() - sent.popleft())


async def _culvert(uri: str, row: Procedure[Any, Any], args: object) -> tuple[list[float], float]:
    taken = []
    async with client.connect(uri) as connection:
        await prologue.open_connection(connection)
        begun = time.monotonic()
        while (start := time.monotonic()) - begun < SECONDS:
            await connection.call(row, args)
            taken.append(time.monotonic() - start)
        return taken, time.monotonic() - begun
