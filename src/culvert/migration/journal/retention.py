"""How much the journal keeps of what is over; what is not over always stays."""

from __future__ import annotations

import sqlite3

from culvert.migration.journal import away
from culvert.migration.journal.history import DAY, Retention

NOTES = 500  # lines for people in one record: a guest may wait for weeks, with a new reason every few seconds


def prune(database: sqlite3.Connection, keep: Retention, now: float) -> int:
    """Drop what ``keep`` does not ask for at ``now``, seconds since 1970: how many records that were."""
    dropped = 0
    if keep.records:
        dropped += database.execute(
            "DELETE FROM migration WHERE number IN (SELECT number FROM migration WHERE ended IS NOT NULL"
            " ORDER BY ended DESC, number DESC LIMIT -1 OFFSET ?)",
            (keep.records,),
        ).rowcount
    if keep.days:
        dropped += database.execute("DELETE FROM migration WHERE ended < ?", (now - keep.days * DAY,)).rowcount
    if dropped:
        away.prune(database)
    return dropped


def limit_notes(database: sqlite3.Connection, number: int) -> None:
    """Of the lines for people in record ``number`` the newest ``NOTES`` stay."""
    database.execute(
        "DELETE FROM line WHERE rowid IN (SELECT rowid FROM line WHERE migration = ? AND step IS NULL"
        " ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
        (number, NOTES),
    )
