"""The door of the daemon: every call is asked for its right on the way in, and written down on the way out."""

from __future__ import annotations

from typing import Any

from culvert.daemon.rights.audit import Audit
from culvert.daemon.rights.permit import Rights
from culvert.ground import errors
from culvert.protocol.procedure import Procedure
from culvert.rpc.dispatch import Doorkeeper
from culvert.rpc.session import Session


class Door(Doorkeeper):
    """``rights`` decide, ``audit`` remembers."""

    def __init__(self, rights: Rights, audit: Audit) -> None:
        self._rights = rights
        self._audit = audit

    async def permit(self, session: Session, row: Procedure[Any, Any], args: object) -> None:
        await self._rights.permit(session, row, args)

    def record(
        self, session: Session, row: Procedure[Any, Any], args: object | None, came: object | errors.RequestError
    ) -> None:
        self._audit.record(session, row, args, came, self._rights.names_of(session))
