"""The programs beside REMOTE: QEMU's monitor, and culvert's own."""

from __future__ import annotations

import json
from uuid import UUID

from culvert import __version__
from culvert.channels.ticket import Token
from culvert.daemon.service import Service, no_flags
from culvert.drivers.qemu import agent
from culvert.ground import errors
from culvert.migration.convergence.link import PROBE_ABILITY
from culvert.migration.destination.intake import Intake
from culvert.migration.journal.history import Entry
from culvert.migration.options.combinations import OPTIONAL_ABILITY, PREEMPT_ABILITY
from culvert.protocol import culvert, qemu
from culvert.rpc.dispatch import Handlers, StreamBody
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
]  # names for HELLO: what of culvert's program is served

# VIR_DOMAIN_QEMU_AGENT_COMMAND_BLOCK, _DEFAULT → seconds
AGENT_TIMEOUTS = {-2: agent.BLOCK, -1: agent.SYNC_TIMEOUT}


class Monitor:
    """Handlers of the QEMU program."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(qemu.DOMAIN_MONITOR_COMMAND, self.monitor_command)
        handlers.add(qemu.DOMAIN_AGENT_COMMAND, self.agent_command)

    async def monitor_command(self, session: Session, args: qemu.MonitorCommandArgs) -> qemu.MonitorCommandRet:
        no_flags(args.flags, "qemuDomainMonitorCommand", qemu.MonitorCommandFlag.HMP)
        domain = self._service.domain(args.dom)
        return qemu.MonitorCommandRet(
            await domain.monitor_command(args.cmd, hmp=bool(args.flags & qemu.MonitorCommandFlag.HMP))
        )

    async def agent_command(self, session: Session, args: qemu.AgentCommandArgs) -> qemu.AgentCommandRet:
        no_flags(args.flags, "qemuDomainQemuAgentCommand")
        seconds = AGENT_TIMEOUTS.get(args.timeout, float(args.timeout))
        if seconds < 0:
            raise errors.InvalidArgument(f"guest agent timeout '{args.timeout}' is less than the minimum '-2'")
        return qemu.AgentCommandRet(await agent.command(self._service.domain(args.dom), args.cmd, seconds))


class Culvert:
    """Handlers of culvert's own program."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(culvert.HELLO, self.hello)
        handlers.add_stream(culvert.MIGRATION_ATTACH, self.migration_attach)
        handlers.add(culvert.MIGRATION_DIRECT, self.migration_direct)
        handlers.add(culvert.MIGRATION_CHANNEL, self.migration_channel)
        handlers.add(culvert.MIGRATION_OUTCOME, self.migration_outcome)
        handlers.add(culvert.MIGRATION_RECOVER, self.migration_recover)
        handlers.add(culvert.MIGRATION_PROBE, self.migration_probe)
        handlers.add(culvert.MIGRATION_HISTORY, self.migration_history)
        handlers.add(culvert.MIGRATION_SHOW, self.migration_show)
        handlers.add(culvert.MIGRATION_WAITING, self.migration_waiting)
        handlers.add(culvert.MIGRATION_RESOLVE, self.migration_resolve)

    async def hello(self, session: Session, args: culvert.HelloArgs) -> culvert.HelloRet:
        return culvert.HelloRet(__version__, str(self._service.host_uuid), ABILITIES)

    def _attach(self, session: Session, text: str, channel: int) -> tuple[Intake, Token]:
        intake, token = self._service.destination.attach(text, session.principal)
        if token.channel != channel:
            raise errors.AuthenticationFailed(f"this token opens channel {token.channel}, not {channel}")
        return intake, token

    async def migration_attach(self, session: Session, args: culvert.MigrationAttachArgs) -> tuple[Void, StreamBody]:
        intake, _ = self._attach(session, args.token, args.channel)
        return Void(), intake.carry

    async def migration_direct(self, session: Session, args: culvert.MigrationAttachArgs) -> Void:
        if session.transport == "tls":
            raise errors.ArgumentUnsupported("route 'direct' would leave TLS out: nothing here encrypts for QEMU")
        intake, _ = self._attach(session, args.token, args.channel)
        with session.detach().sock as sock:
            await intake.take(sock)
        return Void()

    async def migration_channel(
        self, session: Session, args: culvert.MigrationChannelArgs
    ) -> culvert.MigrationChannelRet:
        intake, token = self._attach(session, args.token, args.channel)
        landing, received = await intake.expect(token.channel, token.attempt)
        detached = session.detach()

        def answered() -> None:
            self._service.background.spawn(
                f"attach channel {token.channel} of {intake.domain.name}",
                intake.join(landing, token.channel, token.attempt, detached, args.received),
            )

        session.on_close(answered)
        return culvert.MigrationChannelRet(received)

    async def migration_outcome(
        self, session: Session, args: culvert.MigrationOutcomeArgs
    ) -> culvert.MigrationOutcomeRet:
        outcome, detail = await self._service.destination.outcome(args.token)
        return culvert.MigrationOutcomeRet(int(outcome), detail)

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
        return culvert.MigrationHistoryRet([_text(entry) for entry in entries])

    async def migration_show(self, session: Session, args: culvert.MigrationShowArgs) -> culvert.MigrationShowRet:
        entry = await self._service.journal.show(args.number)
        if entry is None:
            raise errors.InvalidArgument(f"the history has no migration {args.number}")
        return culvert.MigrationShowRet(_text(entry))

    async def migration_waiting(self, session: Session, args: Void) -> culvert.MigrationWaitingRet:
        return culvert.MigrationWaitingRet(
            [
                culvert.Waiting(each.begun.name, UUID(each.begun.uuid).bytes, each.waits_for)
                for each in self._service.source.waiting()
            ]
        )

    async def migration_resolve(self, session: Session, args: culvert.MigrationResolveArgs) -> Void:
        who = session.principal or f"a client by {session.transport}"
        await self._service.source.resolve(UUID(bytes=args.dom.uuid), here=bool(args.here), who=who)
        return Void()


def _text(entry: Entry) -> str:
    return json.dumps(entry.as_json(), separators=(",", ":"))
