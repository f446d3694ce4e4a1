"""Questions about a domain."""

from __future__ import annotations

from culvert.daemon.service import Service, no_flags
from culvert.drivers.qemu import agent, vcpus
from culvert.protocol import remote_domain, shapes
from culvert.protocol.constants_flag import AffectFlag, VcpuFlag
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session


class QueryHandlers:
    """Handlers of the query group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_domain.DOMAIN_GET_XML_DESC, self.get_xml_desc)
        handlers.add(remote_domain.DOMAIN_GET_INFO, self.get_info)
        handlers.add(remote_domain.DOMAIN_GET_STATE, self.get_state)
        handlers.add(remote_domain.DOMAIN_GET_CONTROL_INFO, self.get_control_info)
        handlers.add(remote_domain.DOMAIN_GET_OS_TYPE, self.get_os_type)
        handlers.add(remote_domain.DOMAIN_GET_MAX_MEMORY, self.get_max_memory)
        handlers.add(remote_domain.DOMAIN_GET_MAX_VCPUS, self.get_max_vcpus)
        handlers.add(remote_domain.DOMAIN_GET_VCPUS_FLAGS, self.get_vcpus_flags)
        handlers.add(remote_domain.DOMAIN_IS_ACTIVE, self.is_active)
        handlers.add(remote_domain.DOMAIN_IS_PERSISTENT, self.is_persistent)
        handlers.add(remote_domain.DOMAIN_IS_UPDATED, self.is_updated)
        handlers.add(remote_domain.DOMAIN_GET_SECURITY_LABEL, self.get_security_label)
        handlers.add(remote_domain.DOMAIN_GET_SECURITY_LABEL_LIST, self.get_security_label_list)
        handlers.add(remote_domain.DOMAIN_GET_MESSAGES, self.get_messages)

    async def get_xml_desc(self, session: Session, args: shapes.DomainFlagsArgs) -> shapes.XMLRet:
        return shapes.XMLRet(await self._service.domain(args.dom).xml(args.flags))

    async def get_info(self, session: Session, args: shapes.DomainArgs) -> remote_domain.DomainGetInfoRet:
        info = self._service.domain(args.dom).info()
        return remote_domain.DomainGetInfoRet(
            int(info.state), info.max_memory, info.memory, info.vcpus, info.cpu_time
        )

    async def get_state(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_domain.DomainGetStateRet:
        no_flags(args.flags, "qemuDomainGetState")
        domain = self._service.domain(args.dom)
        return remote_domain.DomainGetStateRet(int(domain.state), int(domain.reason))

    async def get_control_info(
        self, session: Session, args: shapes.DomainFlagsArgs
    ) -> remote_domain.DomainControlInfoRet:
        no_flags(args.flags, "qemuDomainGetControlInfo")
        domain = self._service.domain(args.dom)
        domain.require_active()
        return remote_domain.DomainControlInfoRet(int(domain.job is not None), 0, 0)

    async def get_os_type(self, session: Session, args: shapes.DomainArgs) -> shapes.TypeRet:
        self._service.domain(args.dom)
        return shapes.TypeRet("hvm")

    async def get_max_memory(self, session: Session, args: shapes.DomainArgs) -> shapes.MemoryRet:
        return shapes.MemoryRet(self._service.domain(args.dom).info().max_memory)

    async def get_max_vcpus(self, session: Session, args: shapes.DomainArgs) -> shapes.NumRet:
        domain = self._service.domain(args.dom)
        domain.require_active()
        return shapes.NumRet(domain.definition.vcpus)

    async def get_vcpus_flags(self, session: Session, args: shapes.DomainFlagsArgs) -> shapes.NumRet:
        known = AffectFlag.LIVE | AffectFlag.CONFIG | sum(VcpuFlag) - VcpuFlag.ASYNC_UNPLUG
        no_flags(args.flags, "qemuDomainGetVcpusFlags", known)
        domain = self._service.domain(args.dom)
        if not args.flags & VcpuFlag.GUEST:
            return shapes.NumRet(vcpus.count(domain, args.flags))
        told = await agent.execute(domain, "guest-get-vcpus")
        with agent.believed(domain, "guest-get-vcpus"):
            there = [one for one in told if one["online"] or args.flags & VcpuFlag.MAXIMUM]
            return shapes.NumRet(len(there))

    async def is_active(self, session: Session, args: shapes.DomainArgs) -> remote_domain.ActiveRet:
        return remote_domain.ActiveRet(int(self._service.domain(args.dom).is_active))

    async def is_persistent(self, session: Session, args: shapes.DomainArgs) -> remote_domain.PersistentRet:
        return remote_domain.PersistentRet(int(self._service.domain(args.dom).is_persistent))

    async def is_updated(self, session: Session, args: shapes.DomainArgs) -> remote_domain.UpdatedRet:
        self._service.domain(args.dom)
        return remote_domain.UpdatedRet(0)

    async def get_security_label(self, session: Session, args: shapes.DomainArgs) -> remote_domain.SecurityLabelRet:
        self._service.domain(args.dom)
        return remote_domain.SecurityLabelRet("", 0)

    async def get_security_label_list(
        self, session: Session, args: shapes.DomainArgs
    ) -> remote_domain.SecurityLabelListRet:
        self._service.domain(args.dom)
        return remote_domain.SecurityLabelListRet([], 0)

    async def get_messages(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_domain.MessagesRet:
        self._service.domain(args.dom)
        return remote_domain.MessagesRet([])
