"""One migration's side of the journal: what both daemons write of it, and how."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping

from culvert.ground import errors
from culvert.migration.handover.machine import Step
from culvert.migration.journal.history import Begun, Summary
from culvert.migration.journal.journal import Journal

log = logging.getLogger(__name__)


class Ledger:
    """Of the migration ``begun``; ``known``: the journal has it already, from an earlier daemon."""

    def __init__(self, journal: Journal, begun: Begun, *, known: bool) -> None:
        self._journal = journal
        self._begun = begun
        self._known = known

    async def write(self, step: Step, *, stays: bool = True) -> None:
        """``step`` is in the journal on return; ``stays`` as in ``Journal.write``. Raises ``SystemCallError``;
        nothing has changed then."""
        if self._known:
            await self._journal.write(self._begun.key, step, stays=stays)
        else:
            await self._journal.begin(self._begun, step)
            self._known = True

    async def learn(self, *, peer: str, stock: bool | None = None) -> None:
        """What was not known when it began. Raises ``SystemCallError``; nothing has changed then."""
        await self._journal.learn(self._begun.key, peer=peer, stock=stock)

    async def record(self, text: str) -> None:
        """``text`` is in the journal on return. Raises ``SystemCallError``."""
        await self._journal.note(self._begun.key, text)

    async def note(self, text: str) -> None:
        """A line for people, which nothing depends on: no error."""
        with contextlib.suppress(errors.RequestError):
            await self.record(text)

    async def summarise(self, route: str, cause: str, figures: Mapping[str, int]) -> None:
        """What is told of it when it is over. Nothing depends on it: an error goes to the log."""
        try:
            await self._journal.summarise(self._begun.key, Summary(route, cause, dict(figures)))
        except errors.RequestError as err:
            log.error("migration %s of domain '%s': its history is not complete: %s", *self._names, err)

    @property
    def _names(self) -> tuple[str, str]:
        return self._begun.key.attempt, self._begun.name
