"""What the history of a daemon says of a migration that has gone well."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from culvert import client
from tests.support.daemon import DaemonProcess


@dataclass(frozen=True, slots=True)
class Told:
    """What the history of a daemon says of a migration; ``steps`` and ``texts``: of its lines."""

    route: str
    channels: int
    steps: list[str]
    texts: list[str]


def told(host: DaemonProcess) -> Told:
    """Of the newest migration of ``host``, which is over and has gone well."""

    async def newest() -> client.Record:
        async with client.connect(host.uri) as connected:
            (latest,) = await connected.history(limit=1)
            return await connected.record(latest.id)

    found = asyncio.run(newest())
    assert found.step in ("left", "arrived"), found
    assert not found.cause, found
    steps = [line.step for line in found.lines if line.step is not None]
    return Told(found.route, found.figures["channels"], steps, [line.text for line in found.lines if line.text])
