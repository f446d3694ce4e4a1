"""The programs beside REMOTE: QEMU's monitor, and culvert's own."""

from __future__ import annotations

from culvert import __version__
from culvert.daemon.service import Service, no_flags
from culvert.ground import errors
from culvert.protocol import culvert, qemu
from culvert.rpc.dispatch import Handlers, StreamBody
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

ABILITIES = ["attach", "direct", "outcome"]  # names for HELLO: what of culvert's program is served


def _only_channel(channel: int) -> None:
    if channel != 0:
        raise errors.ArgumentUnsupported(f"migration channel {channel}: this daemon takes one channel, 0")


class Monitor:
    """Handlers of the QEMU program."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(qemu.DOMAIN_MONITOR_COMMAND, self.monitor_command)

    async def monitor_command(self, session: Session, args: qemu.MonitorCommandArgs) -> qemu.MonitorCommandRet:
        no_flags(args.flags, "qemuDomainMonitorCommand", qemu.MonitorCommandFlag.HMP)
        domain = self._service.domain(args.dom)
        return qemu.MonitorCommandRet(
            await domain.monitor_command(args.cmd, hmp=bool(args.flags & qemu.MonitorCommandFlag.HMP))
        )


class Culvert:
    """Handlers of culvert's own program."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(culvert.HELLO, self.hello)
        handlers.add_stream(culvert.MIGRATION_ATTACH, self.migration_attach)
        handlers.add(culvert.MIGRATION_DIRECT, self.migration_direct)
        handlers.add(culvert.MIGRATION_OUTCOME, self.migration_outcome)

    async def hello(self, session: Session, args: culvert.HelloArgs) -> culvert.HelloRet:
        return culvert.HelloRet(__version__, str(self._service.host_uuid), ABILITIES)

    async def migration_attach(self, session: Session, args: culvert.MigrationAttachArgs) -> tuple[Void, StreamBody]:
        _only_channel(args.channel)
        return Void(), self._service.destination.attach(args.token).carry

    async def migration_direct(self, session: Session, args: culvert.MigrationAttachArgs) -> Void:
        _only_channel(args.channel)
        arrival = self._service.destination.attach(args.token)
        with session.detach() as sock:
            await arrival.take(sock)
        return Void()

    async def migration_outcome(
        self, session: Session, args: culvert.MigrationOutcomeArgs
    ) -> culvert.MigrationOutcomeRet:
        outcome, detail = await self._service.destination.outcome(args.token)
        return culvert.MigrationOutcomeRet(int(outcome), detail)
