"""Who may make which call: asked for each one, once its arguments are read and before anything is done.

Without a policy everybody who is let in may do everything, as with libvirt; by clear-text TCP over loopback, which
any local user can reach, only the user that the daemon runs as, and root. With one, what no rule allows is refused,
but to these two by the UNIX socket: they could change the policy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from culvert.daemon.rights import who
from culvert.daemon.rights.policy import Policy, Subject
from culvert.domain import tags
from culvert.domain.definition import DomainDef
from culvert.ground import errors
from culvert.hypervisor.contract import Guest
from culvert.io import tcp_owner
from culvert.protocol import access, types
from culvert.protocol.constants_migrate import MigrateParam
from culvert.protocol.procedure import Procedure
from culvert.rpc.session import Session

SEE = "domain.getattr"
"""Without it a guest is not there for one."""

HOLDERS = ("snap", "checkpoint")
"""Arguments that name a guest's own things, and the guest with them."""


class Directory(Protocol):
    """Where guests are found: the driver."""

    def lookup_by_uuid(self, uuid: UUID) -> Guest:
        """Raises ``NoDomain``."""

    def lookup_by_name(self, name: str) -> Guest:
        """Raises ``NoDomain``."""

    def lookup_by_id(self, domain_id: int) -> Guest:
        """Raises ``NoDomain``."""


LOOKUPS: dict[str, Callable[[Directory, Any], Guest]] = {
    "DOMAIN_LOOKUP_BY_NAME": lambda guests, args: guests.lookup_by_name(args.name),
    "DOMAIN_LOOKUP_BY_UUID": lambda guests, args: guests.lookup_by_uuid(UUID(bytes=args.uuid)),
    "DOMAIN_LOOKUP_BY_ID": lambda guests, args: guests.lookup_by_id(args.id),
    "DOMAIN_MIGRATE_FINISH3": lambda guests, args: guests.lookup_by_name(args.dname),
    "DOMAIN_MIGRATE_FINISH3_PARAMS": lambda guests, args: guests.lookup_by_name(_told_name(args.params)),
}
"""Calls that name their guest otherwise than by its UUID."""

LATER = ("DOMAIN_DEFINE_XML", "DOMAIN_CREATE_XML", "DOMAIN_RESTORE", "DOMAIN_MIGRATE_PREPARE", "MIGRATION_")
"""How calls begin whose guest is known later: when its definition takes a name (``Rights.admit``), or by a ticket or
seal that only who migrates it has."""

NO_GUEST = Subject("")
"""What a call is about that names none, such as a file with a saved guest: it takes a rule for every guest."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call. ``rules``: what the policy says of it, None where there is none that binds it."""

    names: frozenset[str]
    rules: Policy | None

    def may(self, word: str, guest: Subject | None = None) -> bool:
        """Whether it may do what ``word`` names, to ``guest`` where it concerns one."""
        return self.rules is None or self.rules.allows(word, guest)

    def __str__(self) -> str:
        return ", ".join(sorted(name for name in self.names if not name.startswith(("group:", "uid:"))))


@dataclass(frozen=True, slots=True)
class _Asking:
    """The call that is being served: whose it is, what permissions it needs, and by which it sees guests."""

    client: Caller
    words: tuple[str, ...] = ()
    filter: tuple[str, ...] = (SEE,)


_asking: ContextVar[_Asking | None] = ContextVar("asking", default=None)
"""None where the daemon works for itself. A task has its maker's."""


class Rights:
    """Asked by the dispatcher, by the driver for each definition that takes a name, and by lists.

    ``extra`` is asked first: it knows calls that are not everybody's even without a policy.
    """

    def __init__(
        self,
        policy: Policy | None,
        guests: Directory,
        extra: Callable[[Session, Procedure[Any, Any]], None] = lambda session, row: None,
    ) -> None:
        self.policy = policy
        self._guests = guests
        self._extra = extra

    async def permit(self, session: Session, row: Procedure[Any, Any], args: object) -> None:
        """Raises ``errors.AccessDenied`` naming client, permission and guest, or ``errors.NoDomain`` where the client
        may not even know that there is such a guest."""
        client = await self.client(session)
        demands = [demand for demand in access.demands(row.acl) if demand.applies(args)]
        if session.read_only and (more := next((each for each in demands if each.is_more), None)):
            raise errors.OperationDenied(
                f"operation {row.name} forbidden: it needs '{more.word}' so, and the connection is read-only"
            )
        needed = [demand.word for demand in demands]
        seen_by = tuple(demand.word for demand in access.demands(row.acl_filter) if demand.applies(args))
        _asking.set(_Asking(client, tuple(needed), (SEE, *seen_by)))
        self._extra(session, row)
        if client.rules is None:
            return
        known = self._known(row, args)
        if known is not None and not client.may(SEE, known):
            raise errors.NoDomain(f"Domain not found: no domain with matching {_asked_by(row, args)}")
        about = known
        if known is None and not row.name.startswith(LATER) and not self._names_one(row, args):
            about = NO_GUEST
        for word in needed:
            if not client.may(word, about):
                of = f" of domain '{known.name}'" if known is not None else ""
                raise _denied(f"{row.name} needs '{word}'{of}, which no rule gives to {client}")

    def admit(self, definition: DomainDef) -> None:
        """A definition is about to take a name, or another's place: what the call needs, its client must be allowed
        with a guest like that.

        Raises ``errors.AccessDenied``.
        """
        asking = _asking.get()
        if asking is None:
            return
        known = Subject(definition.name, tags.of(definition))
        for word in asking.words:
            if not asking.client.may(word, known):
                raise _denied(f"'{word}' of a domain '{known.name}' is what no rule gives to {asking.client}")

    def sees(self, guest: Guest) -> bool:
        """Whether ``guest`` belongs into the answer to the call that is being served."""
        asking = _asking.get()
        if asking is None or asking.client.rules is None:
            return True
        known = _of(guest)
        return all(asking.client.may(word, known) for word in asking.filter)

    def sees_still(self, session: Session, uuid: UUID, name: str) -> bool:
        """Whether the client of ``session`` may be told of the guest, also of one that has just gone: then by what
        was known of it when it was last told of, or by its name."""
        found: tuple[Policy | None, Caller] | None = session.data.get(_CLIENT)
        if found is None or found[1].rules is None:
            return True
        seen: set[UUID] = session.data.setdefault(_SEEN, set())
        try:
            visible = found[1].may(SEE, _of(self._guests.lookup_by_uuid(uuid)))
        except errors.NoDomain:
            return uuid in seen or found[1].may(SEE, Subject(name))
        (seen.add if visible else seen.discard)(uuid)
        return visible

    def names_of(self, session: Session) -> frozenset[str]:
        """What a client is called; nothing before its first call has been looked at."""
        found: tuple[Policy | None, Caller] | None = session.data.get(_CLIENT)
        return frozenset() if found is None else found[1].names

    async def client(self, session: Session) -> Caller:
        """Who that is; found out once in a connection, and again when the policy is another one.

        Raises ``errors.AccessDenied`` for another user of this host who comes by clear-text TCP.
        """
        found: tuple[Policy | None, Caller] | None = session.data.get(_CLIENT)
        if found is not None and found[0] is self.policy:
            return found[1]
        policy, user = self.policy, await who.uid(session)
        trusted = user in (0, os.geteuid())
        local = session.remote_address is not None and tcp_owner.is_loopback(session.remote_address[0])
        if session.transport == "tcp" and local and not trusted and policy is None:
            owner = "nobody's any more" if user is None else f"user {user}'s"
            raise _denied(
                f"connection {session.peer} is {owner}, and clear-text TCP over loopback is for the user of the "
                "daemon and root only: use the UNIX socket, TLS, or a policy"
            )
        names = await who.names(session, user)
        bound = policy is not None and not (trusted and session.way == "unix")
        client = Caller(names, policy.of(names) if policy is not None and bound else None)
        session.data[_CLIENT] = (policy, client)
        return client

    @staticmethod
    def _names_one(row: Procedure[Any, Any], args: object) -> bool:
        dom = getattr(args, "dom", None)
        return dom is not None or row.name in LOOKUPS or any(hasattr(args, name) for name in HOLDERS)

    def _known(self, row: Procedure[Any, Any], args: object) -> Subject | None:
        dom = getattr(args, "dom", None)
        for name in HOLDERS:
            dom = getattr(getattr(args, name, None), "dom", dom)
        try:
            if isinstance(dom, types.Domain):
                return _of(self._guests.lookup_by_uuid(UUID(bytes=dom.uuid)))
            if row.name in LOOKUPS:
                return _of(LOOKUPS[row.name](self._guests, args))
        except errors.NoDomain:
            pass  # its handler says so, in the same words as to everybody
        return None


def _told_name(params: Sequence[types.TypedParam]) -> str:
    return next((str(one.value[1]) for one in params if one.field == MigrateParam.DEST_NAME), "")


_CLIENT = "client"
_SEEN = "guests seen"


def _of(guest: Guest) -> Subject:
    return Subject(guest.name, tags.of(guest.definition))


def _asked_by(row: Procedure[Any, Any], args: Any) -> str:
    """As the driver says it of a guest that is not there."""
    if row.name == "DOMAIN_LOOKUP_BY_ID":
        return f"id {args.id}"
    if row.name == "DOMAIN_LOOKUP_BY_UUID":
        return f"uuid '{UUID(bytes=args.uuid)}'"
    if row.name in LOOKUPS:
        return f"name '{getattr(args, 'name', '') or args.dname}'"
    holder = next((getattr(args, name) for name in HOLDERS if hasattr(args, name)), args)
    return f"uuid '{UUID(bytes=holder.dom.uuid)}'"


def _denied(why: str) -> errors.AccessDenied:
    return errors.AccessDenied(f"access denied: {why}")
