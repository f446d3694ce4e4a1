"""The journal: what each migration of this host has come to, on the disk before the act that cannot be taken back.

One SQLite database, ``lib/migrations.sqlite``, in write-ahead mode with every commit flushed to the disk
(``synchronous=FULL``). A thread of its own does all of it, so the event loop never waits for the disk, and two writes
never meet.

A database that cannot be read is set aside loudly and an empty one takes its place. Nothing is concluded from what is
missing: to a source that asks, an attempt without a record is *unknown*, which is no promise.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from culvert.ground import errors
from culvert.io import files
from culvert.migration.handover.machine import OVER, Step
from culvert.migration.journal import away, history, retention
from culvert.migration.journal.history import Begun, Direction, Entry, EntryLine, Key, Retention, Summary
from culvert.protocol.constants_migrate import MigrateFlag

log = logging.getLogger(__name__)

T = TypeVar("T")

VERSION = 2  # PRAGMA user_version; 1: without "away" and "ended"
APPLICATION = 0x63756C76  # PRAGMA application_id: "culv"
BUSY_SECONDS = 5.0  # for somebody who looks into the file meanwhile
KEPT = Retention()
SCHEMA = """
CREATE TABLE migration (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    attempt     TEXT NOT NULL,
    direction   TEXT NOT NULL CHECK (direction IN ('in', 'out')),
    name        TEXT NOT NULL,
    uuid        TEXT NOT NULL,
    peer        TEXT NOT NULL,
    was_running INTEGER NOT NULL,
    stock       INTEGER NOT NULL,
    secret      TEXT NOT NULL,
    flags       INTEGER NOT NULL,
    step        TEXT NOT NULL,
    began       REAL NOT NULL,
    ended       REAL,
    route       TEXT NOT NULL DEFAULT '',
    cause       TEXT NOT NULL DEFAULT '',
    figures     TEXT NOT NULL DEFAULT '{}',
    UNIQUE (attempt, direction)
) STRICT;
CREATE INDEX unfinished ON migration (number) WHERE ended IS NULL;
CREATE TABLE line (
    migration   INTEGER NOT NULL REFERENCES migration (number) ON DELETE CASCADE,
    at          REAL NOT NULL,
    step        TEXT,
    text        TEXT NOT NULL
) STRICT;
CREATE INDEX line_of ON line (migration);
"""
INDEX = "CREATE INDEX ended ON migration (ended, number) WHERE ended IS NOT NULL;"  # since version 2
_COLUMNS = (
    "number, attempt, direction, name, uuid, peer, was_running, stock, secret, flags, step, began, ended, "
    "route, cause, figures"
)


class Journal:
    """The database at ``path``. Every method that is a coroutine is done on the disk when it returns.

    A caller that is cancelled does not stop a write that is under way: it may be there afterwards, as after any
    failure. ``clock``: seconds since 1970.
    """

    def __init__(self, path: Path, keep: Retention = KEPT, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._retention = keep
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._database: sqlite3.Connection | None = None

    # -- life -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make or open the database, and drop what is too old.

        Raises ``SystemCallError`` when it can be neither read nor made, ``InternalError`` when a newer culvert has
        written it.
        """
        await self._run("open", self._open)

    async def close(self) -> None:
        """Let go of the file. Idempotent."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _open(self) -> None:
        try:
            self._database = self._connect()
        except sqlite3.DatabaseError as err:
            if isinstance(err, sqlite3.OperationalError) and not _is_damage(err):
                raise
            log.error("the migration journal %s is damaged: what it knew of earlier migrations is lost", self.path)
            for suffix in ("-wal", "-shm", ""):
                file = self.path.with_name(self.path.name + suffix)
                if file.exists():
                    files.set_aside(file, err)
            self._database = self._connect()
        database = self._database
        with database:
            database.execute("BEGIN IMMEDIATE")
            self._prune(database)

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            self.path.chmod(0o600)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA foreign_keys = ON")
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise errors.InternalError(
                    f"the migration journal {self.path} is of version {version}, written by a newer culvert: this "
                    f"one knows version {VERSION}"
                )
            if version == 0:
                database.executescript(
                    f"BEGIN; {SCHEMA} {INDEX} {away.SCHEMA} PRAGMA application_id = {APPLICATION};"
                    f" PRAGMA user_version = {VERSION}; COMMIT;"
                )
            elif (found := database.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(found)
            elif version == 1:
                database.executescript(f"BEGIN; {INDEX} {away.SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        except BaseException:
            database.close()
            raise
        return database

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    # -- writing --------------------------------------------------------------------------------------------------

    async def begin(self, begun: Begun, step: Step) -> None:
        """The record of a new migration, with its first step.

        Raises ``SystemCallError``, and ``OperationInvalid`` for a name that is known; then nothing has changed.
        """

        def insert(database: sqlite3.Connection) -> None:
            now = self._clock()
            cursor = database.execute(
                "INSERT INTO migration "
                "(attempt, direction, name, uuid, peer, was_running, stock, secret, flags, step, began) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(begun.key.attempt, begun.key.direction.value, begun.name, begun.uuid, begun.peer),
                    *(int(begun.was_running), int(begun.stock), begun.secret, begun.flags, step.value, now),
                ),
            )
            database.execute("INSERT INTO line VALUES (?, ?, ?, '')", (cursor.lastrowid, now, step.value))

        try:
            await self._transaction(f"begin {begun.key}", insert)
        except errors.SystemCallError as err:
            if isinstance(err.__cause__, sqlite3.IntegrityError):
                raise errors.OperationInvalid(f"migration {begun.key} is known here: a name is used once") from err
            raise

    async def write(self, key: Key, step: Step, text: str = "", *, stays: bool = True) -> None:
        """``step`` is the last one of ``key`` from now on: after ``left`` the guest is away, after ``arrived`` here.

        ``stays``: the definition of a guest that leaves is still here. Raises ``SystemCallError``, ``InternalError``.
        """

        def update(database: sqlite3.Connection) -> None:
            now = self._clock()
            number = _number(database, key)
            ended = now if step in OVER else None
            database.execute("UPDATE migration SET step = ?, ended = ? WHERE number = ?", (step.value, ended, number))
            database.execute("INSERT INTO line VALUES (?, ?, ?, ?)", (number, now, step.value, text))
            uuid, peer, flags = database.execute(
                "SELECT uuid, peer, flags FROM migration WHERE number = ?", (number,)
            ).fetchone()
            if step is Step.ARRIVED:
                away.forget(database, uuid)
            elif step is Step.LEFT and not flags & MigrateFlag.OFFLINE:  # then only its definition is there too
                away.put(database, uuid, key.attempt, peer, stays=stays)

        await self._transaction(f"{step.value} {key}", update)

    async def note(self, key: Key, text: str) -> None:
        """Add a line for people; of more than ``retention.NOTES`` the oldest goes. Raises as ``write``."""

        def insert(database: sqlite3.Connection) -> None:
            number = _number(database, key)
            values = (number, self._clock(), text)
            database.execute("INSERT INTO line (migration, at, text) VALUES (?, ?, ?)", values)
            retention.limit_notes(database, number)

        await self._transaction(f"note {key}", insert)

    async def learn(self, key: Key, *, peer: str | None = None, stock: bool | None = None) -> None:
        """What was not known when it began. Raises as ``write``."""

        def update(database: sqlite3.Connection) -> None:
            number = _number(database, key)
            database.execute(
                "UPDATE migration SET peer = coalesce(?, peer), stock = coalesce(?, stock) WHERE number = ?",
                (peer, None if stock is None else int(stock), number),
            )

        await self._transaction(f"learn {key}", update)

    async def summarise(self, key: Key, summary: Summary) -> None:
        """What is to be told of a migration that is over; what is too old goes. Raises as ``write``."""

        def update(database: sqlite3.Connection) -> None:
            database.execute(
                "UPDATE migration SET route = ?, cause = ?, figures = ? WHERE number = ?",
                (
                    *(summary.route, summary.cause, history.figures_to_text(summary.figures)),
                    _number(database, key),
                ),
            )

        await self._transaction(f"summarise {key}", update)
        await self._drop_outdated()

    async def _drop_outdated(self) -> None:
        """After every migration: the file stays as large as what it keeps, however many there are."""
        try:
            await self._transaction("drop what is old", self._prune)
        except errors.RequestError as err:
            log.error("what is old stays: %s", err)

    def _prune(self, database: sqlite3.Connection) -> None:
        if dropped := retention.prune(database, self._retention, self._clock()):
            log.debug("journal: %d records of old migrations are dropped", dropped)

    # -- where guests are -----------------------------------------------------------------------------------------

    async def gone_to(self, uuid: UUID) -> str:
        """Where the domain has gone, or may have, by the journal; empty: it is this host's.

        Raises ``SystemCallError`` when that cannot be read, ``OperationFailed`` while a journal that was set aside
        may know more: then nobody may take it to be here.
        """

        def look() -> str:
            aside = sorted(self.path.parent.glob(f"{self.path.name}*{files.UNREADABLE}*"))
            if not (found := away.where(self._opened(), str(uuid))) and aside:
                raise errors.OperationFailed(
                    f"the migration journal was damaged, and it may have gone to another host: remove '{aside[0]}'"
                    " when you know that it runs nowhere else"
                )
            return found

        return await self._run("where is it?", look)

    async def here_again(self, uuid: UUID) -> None:
        """The domain runs here by somebody's will. Raises ``SystemCallError``."""
        await self._transaction(f"{uuid} is here", lambda database: away.forget(database, str(uuid)))

    async def undefined(self, uuid: UUID) -> None:
        """Its definition is not kept here any more. Raises ``SystemCallError``."""
        await self._transaction(f"{uuid} is undefined", lambda database: away.release(database, str(uuid)))

    async def believe(self, name: str, uuid: UUID, peer: str) -> None:
        """An earlier culvert has left the word that the domain ``name`` has gone to ``peer``.

        Where the journal says that another domain of that name has, that one is meant. Raises ``SystemCallError``.
        """

        def put(database: sqlite3.Connection) -> None:
            if (away.gone_by(database, name) or str(uuid)) == str(uuid):
                away.put(database, str(uuid), "", peer, stays=True)

        await self._transaction(f"{name} has gone", put)

    # -- reading --------------------------------------------------------------------------------------------------

    async def unfinished(self) -> list[Entry]:
        """Every migration that is not over, the oldest first, without its lines. Raises ``InternalError``."""
        return await self._entries("ended IS NULL ORDER BY number", ())

    async def get(self, key: Key) -> Entry | None:
        """The record of ``key``, without its lines. Raises ``InternalError`` when it cannot be read."""
        found = await self._entries("attempt = ? AND direction = ?", (key.attempt, key.direction.value))
        return found[0] if found else None

    async def recent(self, limit: int, domain: str = "") -> list[Entry]:
        """The newest first, of one domain (name or UUID) or of all, without their lines."""
        return await self._entries("(? IN ('', name, uuid)) ORDER BY number DESC LIMIT ?", (domain, limit))

    async def show(self, number: int) -> Entry | None:
        """One record with its lines."""
        found = await self._entries("number = ?", (number,), lines=True)
        return found[0] if found else None

    async def _entries(self, where: str, values: tuple[object, ...], *, lines: bool = False) -> list[Entry]:
        def select() -> list[Entry]:
            database = self._opened()
            rows = database.execute(f"SELECT {_COLUMNS} FROM migration WHERE {where}", values).fetchall()  # noqa: S608
            return [_entry(database, row, lines=lines) for row in rows]

        try:
            return await self._run("read", select)
        except ValueError as err:
            raise errors.InternalError(f"the migration journal {self.path} cannot be read: {err}") from err

    # -- the thread -----------------------------------------------------------------------------------------------

    async def _transaction(self, what: str, work: Callable[[sqlite3.Connection], None]) -> None:
        def run() -> None:
            database = self._opened()
            database.execute("BEGIN IMMEDIATE")
            try:
                work(database)
                database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise

        await self._run(what, run)

    async def _run(self, what: str, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except UnicodeEncodeError as err:
            raise errors.InvalidArgument(f"a name that is no text cannot be in the migration journal: {err}") from err
        except (sqlite3.Error, OSError) as err:
            text = f"the migration journal {self.path} cannot be used ({what}): {err}"
            number = err.errno if isinstance(err, OSError) else _errno(err)
            raise errors.SystemCallError(text, errno=number) from err

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise sqlite3.OperationalError("it is not open")
        return self._database


def _number(database: sqlite3.Connection, key: Key) -> int:
    found = database.execute(
        "SELECT number FROM migration WHERE attempt = ? AND direction = ?", (key.attempt, key.direction.value)
    ).fetchone()
    if found is None:
        raise errors.InternalError(f"the migration journal has no record of {key}")
    return int(found[0])


def _entry(database: sqlite3.Connection, row: tuple[Any, ...], *, lines: bool) -> Entry:
    number, attempt, direction, name, uuid, peer, was_running, stock, secret, flags, step, began, ended, *rest = row
    route, cause, figures = rest
    found = (
        database.execute("SELECT at, step, text FROM line WHERE migration = ? ORDER BY rowid", (number,)).fetchall()
        if lines
        else []
    )
    return Entry(
        number=number,
        begun=Begun(
            Key(attempt, Direction(direction)), name, uuid, peer, bool(was_running), bool(stock), secret, flags
        ),
        began=began,
        step=Step(step),
        ended=ended,
        route=route,
        cause=cause,
        figures=history.figures_from_text(figures),
        lines=tuple(EntryLine(at, Step(word) if word else None, text) for at, word, text in found),
    )


def _is_damage(err: sqlite3.OperationalError) -> bool:
    """Whether the file itself is bad, and not the disk or the moment."""
    return getattr(err, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _errno(err: sqlite3.Error) -> int:
    code = getattr(err, "sqlite_errorcode", 0) & 0xFF
    known = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_READONLY: errno.EROFS}
    return known.get(code, errno.EIO)
