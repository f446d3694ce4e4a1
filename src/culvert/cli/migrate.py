"""``culvert migrate``: a migration shown while it is under way, Ctrl-C passed on to it, its last words told."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

from culvert import client
from culvert.cli import ending
from culvert.cli.display import Display
from culvert.cli.ending import LastWords
from culvert.cli.exits import Exit
from culvert.client import MigrateOptions, Notice
from culvert.ground import errors
from culvert.ground.uri import ConnectionURI


async def migrate(
    uri: ConnectionURI, domain: str, destination: ConnectionURI, options: MigrateOptions, display: Display
) -> LastWords:
    """Migrate ``domain`` from the daemon at ``uri``. Refusals do not come out of here but are told in the last words,
    which have been shown when this answers."""
    try:
        async with client.connect(uri) as host:
            return await _migrate(host, domain, destination, options, display)
    except client.Unreachable as err:
        return not_begun(display, Exit.UNREACHABLE, str(err))


def not_begun(display: Display, code: Exit, error: str) -> LastWords:
    """The last words when nothing has been asked of the daemon."""
    ended = ending.not_begun(code, error)
    display.end(ended, None)
    return ended


async def _migrate(
    host: client.Host, domain: str, destination: ConnectionURI, options: MigrateOptions, display: Display
) -> LastWords:
    def notice(told: Notice) -> None:
        display.notice(f"{told.words} (Ctrl-C now: do not wait)" if told.cancelling else told.words)

    # The display and the meaning of Ctrl-C last until the last words are shown: longer than the migration.
    with contextlib.ExitStack() as stack:
        try:
            async with host.migrate(domain, destination, options, notice=notice) as migration:
                stack.enter_context(display)
                stack.enter_context(_interrupts(migration.interrupt))
                display.begin(migration.name, str(migration.source), str(migration.destination))
                async for progress in migration:
                    display.update(progress, asyncio.get_running_loop().time())
        except client.NotArrived:
            pass
        except errors.RequestError as err:
            return not_begun(display, Exit.FAILED, str(err))
        ended = ending.of(migration.verdict)
        display.end(ended, migration.final)
    return ended


@contextlib.contextmanager
def _interrupts(interrupt: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM are wishes for the length of the block."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
