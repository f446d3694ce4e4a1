"""The QEMU program: QEMU's monitor, and the guest's agent."""

from __future__ import annotations

from culvert.daemon.service import Service, no_flags
from culvert.drivers.qemu import agent
from culvert.ground import errors
from culvert.protocol import qemu
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session

# VIR_DOMAIN_QEMU_AGENT_COMMAND_BLOCK, _DEFAULT → seconds
AGENT_TIMEOUTS = {-2: agent.BLOCK, -1: agent.SYNC_TIMEOUT}


class MonitorHandlers:
    """Handlers of the QEMU program."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(qemu.DOMAIN_MONITOR_COMMAND, self.monitor_command)
        handlers.add(qemu.DOMAIN_AGENT_COMMAND, self.agent_command)

    async def monitor_command(self, session: Session, args: qemu.MonitorCommandArgs) -> qemu.MonitorCommandRet:
        no_flags(args.flags, "qemuDomainMonitorCommand", qemu.MonitorCommandFlag.HMP)
        monitor = self._service.domain(args.dom).monitor
        ask = monitor.human if args.flags & qemu.MonitorCommandFlag.HMP else monitor.raw
        return qemu.MonitorCommandRet(await ask(args.cmd))

    async def agent_command(self, session: Session, args: qemu.AgentCommandArgs) -> qemu.AgentCommandRet:
        no_flags(args.flags, "qemuDomainQemuAgentCommand")
        seconds = AGENT_TIMEOUTS.get(args.timeout, float(args.timeout))
        if seconds < 0:
            raise errors.InvalidArgument(f"guest agent timeout '{args.timeout}' is less than the minimum '-2'")
        return qemu.AgentCommandRet(await agent.command(self._service.domain(args.dom), args.cmd, seconds))
