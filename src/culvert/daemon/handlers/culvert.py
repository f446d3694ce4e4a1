"""culvert's own program: what two culverts say to each other, and what people ask of migrations."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from culvert import __version__
from culvert.channels.plan import MAIN, Channel
from culvert.channels.ticket import opening, opening_number
from culvert.daemon.service import Service
from culvert.ground import errors
from culvert.migration.convergence.link import PROBE_ABILITY
from culvert.migration.destination.intake import Intake
from culvert.migration.journal.history import Entry
from culvert.migration.options.combinations import OPTIONAL_ABILITY, PREEMPT_ABILITY
from culvert.protocol import culvert, culvert_wire_1
from culvert.rpc.answer import StreamBody
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

ABILITIES = [
    "attach",
    "direct",
    "outcome",
    OPTIONAL_ABILITY,
    PREEMPT_ABILITY,
    PROBE_ABILITY,
    "pump",
    *culvert.WIRES,
]  # names for HELLO: what of culvert's program is served


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a token has opened: a channel of the guest that comes in by ``intake``, at the ``attempt``-th try."""

    intake: Intake
    channel: Channel
    attempt: int

    @property
    def main(self) -> Intake:
        """For a route that has no other channel. Raises ``errors.InvalidStream`` where another was asked for."""
        if self.channel != MAIN:
            raise errors.InvalidStream(f"{self.intake.name}: channel '{self.channel}' comes by the pump route only")
        return self.intake


class CulvertHandlers:
    """Handlers of culvert's own program."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(culvert.HELLO, self.hello)
        handlers.add_stream(culvert.MIGRATION_ATTACH, self.migration_attach)
        handlers.add_stream(culvert_wire_1.MIGRATION_ATTACH_1, self.migration_attach_1)
        handlers.add(culvert.MIGRATION_DIRECT, self.migration_direct)
        handlers.add(culvert_wire_1.MIGRATION_DIRECT_1, self.migration_direct_1)
        handlers.add(culvert.MIGRATION_CHANNEL, self.migration_channel)
        handlers.add(culvert_wire_1.MIGRATION_CHANNEL_1, self.migration_channel_1)
        handlers.add(culvert.MIGRATION_OUTCOME, self.migration_outcome)
        handlers.add(culvert_wire_1.MIGRATION_OUTCOME_1, self.migration_outcome_1)
        handlers.add(culvert.MIGRATION_RECOVER, self.migration_recover)
        handlers.add(culvert.MIGRATION_PROBE, self.migration_probe)
        handlers.add(culvert.MIGRATION_HISTORY, self.migration_history)
        handlers.add(culvert.MIGRATION_SHOW, self.migration_show)
        handlers.add(culvert.MIGRATION_WAITING, self.migration_waiting)
        handlers.add(culvert.MIGRATION_RESOLVE, self.migration_resolve)

    async def hello(self, session: Session, args: culvert.HelloArgs) -> culvert.HelloRet:
        return culvert.HelloRet(__version__, str(self._service.host_uuid), ABILITIES)

    # -- data connections -----------------------------------------------------------------------------------------

    async def migration_attach(self, session: Session, args: culvert.MigrationAttachArgs) -> tuple[Void, StreamBody]:
        return Void(), self._named(session, args).main.carry

    async def migration_attach_1(
        self, session: Session, args: culvert_wire_1.MigrationAttach1Args
    ) -> tuple[Void, StreamBody]:
        return Void(), self._numbered(session, args).main.carry

    async def migration_direct(self, session: Session, args: culvert.MigrationAttachArgs) -> Void:
        return await self._direct(session, lambda: self._named(session, args))

    async def migration_direct_1(self, session: Session, args: culvert_wire_1.MigrationAttach1Args) -> Void:
        return await self._direct(session, lambda: self._numbered(session, args))

    async def migration_channel(
        self, session: Session, args: culvert.MigrationChannelArgs
    ) -> culvert.MigrationChannelRet:
        opened = self._named(session, args)
        return culvert.MigrationChannelRet(await self._join(session, opened, args.received))

    async def migration_channel_1(
        self, session: Session, args: culvert_wire_1.MigrationChannel1Args
    ) -> culvert_wire_1.MigrationChannel1Ret:
        opened = self._numbered(session, args)
        return culvert_wire_1.MigrationChannel1Ret(await self._join(session, opened, args.received))

    def _named(self, session: Session, args: culvert.MigrationAttachArgs | culvert.MigrationChannelArgs) -> _Opened:
        """What ``args`` open for ``session``: the token first, then what they say."""
        intake, attempt = self._admitted(session, args.token, opening(args.kind, args.name))
        return _Opened(intake, Channel.parse(args.kind, args.name), attempt)

    def _numbered(
        self, session: Session, args: culvert_wire_1.MigrationAttach1Args | culvert_wire_1.MigrationChannel1Args
    ) -> _Opened:
        """The same of wire 1."""
        intake, attempt = self._admitted(session, args.token, opening_number(args.channel))
        return _Opened(intake, intake.plan.numbered(args.channel, of=intake.name), attempt)

    def _admitted(self, session: Session, text: str, opens: str) -> tuple[Intake, int]:
        intake, token = self._service.destination.attach(text, session.principal)
        if token.opens != opens:
            raise errors.AuthenticationFailed(f"this token opens channel '{token.opens}', not '{opens}'")
        return intake, token.attempt

    async def _direct(self, session: Session, opened: Callable[[], _Opened]) -> Void:
        if session.transport == "tls":
            raise errors.ArgumentUnsupported("route 'direct' would leave TLS out: nothing here encrypts for QEMU")
        intake = opened().main
        with session.detach().sock as sock:
            await intake.take(sock)
        return Void()

    async def _join(self, session: Session, opened: _Opened, received: int) -> int:
        """The session's connection is a channel as soon as it is answered: how many bytes have come by it so far."""
        intake, channel, attempt = opened.intake, opened.channel, opened.attempt
        landing, here = await intake.expect(channel, attempt)
        detached = session.detach()

        def answered() -> None:
            self._service.background.spawn(
                f"attach channel {channel} of {intake.domain.name}",
                intake.join(landing, channel, attempt, detached, received),
            )

        session.on_close(answered)
        return here

    # -- what becomes of migrations -------------------------------------------------------------------------------

    async def migration_outcome(
        self, session: Session, args: culvert.MigrationOutcomeArgs
    ) -> culvert.MigrationOutcomeRet:
        outcome, detail = await self._service.destination.outcome(args.attempt, args.seal)
        return culvert.MigrationOutcomeRet(int(outcome), detail)

    async def migration_outcome_1(
        self, session: Session, args: culvert_wire_1.MigrationOutcome1Args
    ) -> culvert_wire_1.MigrationOutcome1Ret:
        outcome, detail = await self._service.destination.outcome(args.attempt, None)
        return culvert_wire_1.MigrationOutcome1Ret(int(outcome), detail)

    async def migration_recover(
        self, session: Session, args: culvert.MigrationRecoverArgs
    ) -> culvert.MigrationRecoverRet:
        name, ticket = self._service.destination.recover(
            args.attempt, args.grant, session, preempt=bool(args.preempt)
        )
        return culvert.MigrationRecoverRet(name, str(ticket))

    async def migration_probe(self, session: Session, args: culvert.MigrationProbeArgs) -> Void:
        return Void()

    async def migration_history(
        self, session: Session, args: culvert.MigrationHistoryArgs
    ) -> culvert.MigrationHistoryRet:
        limit = min(args.limit or culvert.HISTORY_MAX, culvert.HISTORY_MAX)
        entries = await self._service.journal.recent(limit, args.domain)
        return culvert.MigrationHistoryRet([_text(entry, session) for entry in entries if self._sees(session, entry)])

    async def migration_show(self, session: Session, args: culvert.MigrationShowArgs) -> culvert.MigrationShowRet:
        entry = await self._service.journal.show(args.number)
        if entry is None or not self._sees(session, entry):
            raise errors.InvalidArgument(f"the history has no migration {args.number}")
        return culvert.MigrationShowRet(_text(entry, session))

    async def migration_waiting(self, session: Session, args: Void) -> culvert.MigrationWaitingRet:
        return culvert.MigrationWaitingRet(
            [
                culvert.Waiting(each.begun.name, UUID(each.begun.uuid).bytes, each.waits_for)
                for each in self._service.source.waiting()
                if self._service.rights.sees_still(session, UUID(each.begun.uuid), each.begun.name)
            ]
        )

    def _sees(self, session: Session, entry: Entry) -> bool:
        return self._service.rights.sees_still(session, UUID(entry.begun.uuid), entry.begun.name)

    async def migration_resolve(self, session: Session, args: culvert.MigrationResolveArgs) -> Void:
        who = session.principal or f"a client by {session.transport}"
        await self._service.source.resolve(UUID(bytes=args.dom.uuid), here=bool(args.here), who=who)
        return Void()


def _text(entry: Entry, session: Session) -> str:
    """A record for the wire. Who may only look is not told what names the attempt to the daemon at the other end."""
    text = json.dumps(entry.as_json(), separators=(",", ":"))
    return text.replace(entry.begun.key.attempt, "") if session.read_only else text
