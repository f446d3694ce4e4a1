"""The record of who did what: a line of JSON for every call that changes something, or was refused.

It goes by a queue into a file of its own beside the daemon's log; nothing waits for it (``log_queue``).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from culvert.daemon.log_queue import LogFile, LogQueue
from culvert.daemon.rights.permit import HOLDERS
from culvert.ground import errors
from culvert.protocol import types
from culvert.protocol.procedure import Procedure
from culvert.rpc.session import Session

FILE_NAME = "audit.log"
LOGGER = "culvert.audit"

REFUSALS = (errors.AccessDenied, errors.OperationDenied, errors.AuthenticationFailed)
"""Errors that say "you may not"; any other says that it did not work."""


class Audit:
    """Writes to the logger ``LOGGER``, wherever that leads (``to``)."""

    def __init__(self) -> None:
        self._log = logging.getLogger(LOGGER)

    def record(
        self,
        session: Session,
        row: Procedure[Any, Any],
        args: object | None,
        came: object | errors.RequestError,
        names: Iterable[str],
    ) -> None:
        """Write down what came of a call, if that is worth it. ``names``: what the client is called in a policy."""
        error = came if isinstance(came, errors.RequestError) else None
        refused = isinstance(error, REFUSALS)
        if row.read_only and not refused:
            return
        guest = _domain(args) or _domain(came)
        line: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "session": session.id,
            "way": session.way,
            "peer": session.peer,
            "who": sorted(names) or [session.principal],
            "call": row.name,
            "guest": guest.name if guest is not None else str(getattr(args, "dname", None) or ""),
            "uuid": str(UUID(bytes=guest.uuid)) if guest is not None else "",
            "outcome": "done" if error is None else "refused" if refused else "failed",
        }
        if error is not None:
            line |= {"code": int(error.code), "error": str(error)}
        self._log.info("%s", json.dumps(line, separators=(",", ":")))


def to(folder: Path) -> LogQueue:
    """The queue into the file in ``folder``; the logger writes there while it is entered (``with``)."""
    target = LogFile(folder / FILE_NAME, at_once=True)
    target.setFormatter(logging.Formatter("%(message)s"))
    logs = LogQueue([target])
    logger = logging.getLogger(LOGGER)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(logs)
    return logs


def _domain(holder: object) -> types.Domain | None:
    """The guest that arguments, or a result, are about."""
    for each in (holder, *(getattr(holder, name, None) for name in HOLDERS)):
        dom = getattr(each, "dom", None)
        if isinstance(dom, types.Domain):
            return dom
    return None
