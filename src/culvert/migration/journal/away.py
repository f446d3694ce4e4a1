"""Which guests have gone from this host, as a part of the journal: they are not started with it.

A row is written with ``left``, in one transaction, and goes with ``arrived`` when the guest comes back, or when it is
started here by hand. Where the definition stays, the row stays until then; else it goes with the migration's record.
"""

from __future__ import annotations

import sqlite3

from culvert.migration.handover.machine import MAY_HAVE_LEFT

SCHEMA = """
CREATE TABLE away (
    uuid        TEXT PRIMARY KEY,
    attempt     TEXT NOT NULL,
    peer        TEXT NOT NULL,
    stays       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

_OPEN = ", ".join(f"'{step.value}'" for step in sorted(MAY_HAVE_LEFT, key=lambda step: step.value))


def put(database: sqlite3.Connection, uuid: str, attempt: str, peer: str, *, stays: bool) -> None:
    """The guest has gone to ``peer`` by ``attempt``; ``stays``: its definition has not."""
    database.execute("INSERT OR REPLACE INTO away VALUES (?, ?, ?, ?)", (uuid, attempt, peer, int(stays)))


def forget(database: sqlite3.Connection, uuid: str) -> None:
    """It is here again."""
    database.execute("DELETE FROM away WHERE uuid = ?", (uuid,))


def release(database: sqlite3.Connection, uuid: str) -> None:
    """Its definition is here no more: the row goes with the migration's record."""
    database.execute("UPDATE away SET stays = 0 WHERE uuid = ?", (uuid,))


def where(database: sqlite3.Connection, uuid: str) -> str:
    """Where it has gone, or may have; empty: it is this host's."""
    found = database.execute("SELECT peer FROM away WHERE uuid = ?", (uuid,)).fetchone()
    if found is not None:
        return str(found[0]) or "another host"
    found = database.execute(
        "SELECT number, peer FROM migration AS out WHERE uuid = ? AND direction = 'out' AND ended IS NULL"  # noqa: S608
        f" AND step IN ({_OPEN}) AND NOT EXISTS (SELECT 1 FROM migration WHERE uuid = out.uuid AND step = 'arrived'"
        " AND number > out.number) ORDER BY number DESC LIMIT 1",
        (uuid,),
    ).fetchone()
    if found is None:
        return ""
    return f"{found[1] or 'another host'}, perhaps: the end of migration {found[0]} is not in the journal"


def prune(database: sqlite3.Connection) -> None:
    """Drop what no definition needs and no record tells of any more."""
    database.execute("DELETE FROM away WHERE stays = 0 AND attempt NOT IN (SELECT attempt FROM migration)")


def gone_by(database: sqlite3.Connection, name: str) -> str | None:
    """The UUID of the last domain called ``name`` that has left; ``None``: the journal knows of none."""
    found = database.execute(
        "SELECT uuid FROM migration WHERE name = ? AND direction = 'out' AND step = 'left'"
        " ORDER BY number DESC LIMIT 1",
        (name,),
    ).fetchone()
    return None if found is None else str(found[0])
