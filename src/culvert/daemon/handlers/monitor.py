"""The QEMU program: QEMU's monitor, and the guest's agent."""

from __future__ import annotations

import json

from culvert.daemon.service import Service, no_flags
from culvert.drivers.qemu import agent, screen
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
        domain, human = self._service.domain(args.dom), bool(args.flags & qemu.MonitorCommandFlag.HMP)
        answer = await (domain.monitor.human if human else domain.monitor.raw)(args.cmd)
        password = screen.password_in(args.cmd, human=human)
        # What QEMU has taken: the human monitor is silent about it, the other one has no error.
        if password is not None and (not answer.strip() if human else "error" not in json.loads(answer)):
            await screen.note_password(domain, password)
        return qemu.MonitorCommandRet(answer)

    async def agent_command(self, session: Session, args: qemu.AgentCommandArgs) -> qemu.AgentCommandRet:
        no_flags(args.flags, "qemuDomainQemuAgentCommand")
        seconds = AGENT_TIMEOUTS.get(args.timeout, float(args.timeout))
        if seconds < 0:
            raise errors.InvalidArgument(f"guest agent timeout '{args.timeout}' is less than the minimum '-2'")
        return qemu.AgentCommandRet(await agent.command(self._service.domain(args.dom), args.cmd, seconds))
