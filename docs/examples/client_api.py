"""Lists a host's guests, begins to move one and aborts that, moves it after all, and asks what became of it.

``python docs/examples/client_api.py SOURCE-URI DESTINATION-URI GUEST``
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

from culvert import client


async def show_domains(host: client.Host) -> None:
    """What runs there."""
    for domain in await host.domains():
        print(f"{domain.name} is {domain.state}")


async def change_your_mind(host: client.Host, guest: str, destination: str) -> None:
    """Begin to move a guest, slowly, and abort that as soon as bytes flow. The guest stays where it is."""
    slowly = client.MigrateOptions(bandwidth=1)  # MiB/s
    try:
        async with host.migrate(guest, destination, slowly) as migration:
            async for progress in migration:
                if progress.phase == "perform":
                    await host.abort(guest)  # from any connection; here migration.cancel() would do
    except client.NotArrived as err:
        print(f"{err.verdict.result}, the guest is at the {err.verdict.location}: {err}")


async def move(host: client.Host, guest: str, destination: str) -> None:
    """Move a guest and show how far it is. What becomes of it is known when the block ends."""
    async with host.migrate(guest, destination) as migration:
        async for progress in migration:
            if progress.percent is not None:
                print(f"{progress.phase}: {progress.percent:.0f} %")
    print(migration.verdict.words)
    if migration.final is not None:
        print(f"downtime {migration.final.downtime_ms} ms")


async def show_history(host: client.Host, guest: str) -> None:
    """What the host remembers of its migrations, the newest first."""
    for record in await host.history(guest):
        began = datetime.fromtimestamp(record.began)
        print(f"{began:%H:%M:%S} {record.direction} {record.peer}: {record.step} {record.cause}")


async def main(source: str, destination: str, guest: str) -> None:
    """All of it, one after the other."""
    async with client.connect(source) as host:
        await show_domains(host)
        await change_your_mind(host, guest, destination)
        await move(host, guest, destination)
        await show_history(host, guest)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
