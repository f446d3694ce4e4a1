"""Changes to a domain, running or not: memory, processors, what is said of it, keys pressed in it."""

from __future__ import annotations

from culvert.daemon.service import Service, no_flags
from culvert.drivers.qemu import autostart, cards, description, keys, memory, vcpus, vnc
from culvert.ground import errors
from culvert.protocol import remote_change, remote_domain, shapes, typed_params
from culvert.protocol.constants_flag import AffectFlag, MemoryFlag, VcpuFlag
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

IMPACT = AffectFlag.LIVE | AffectFlag.CONFIG


class ChangeHandlers:
    """Handlers of the changing group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_change.DOMAIN_SET_MEMORY, self.set_memory)
        handlers.add(remote_change.DOMAIN_SET_MEMORY_FLAGS, self.set_memory_flags)
        handlers.add(remote_change.DOMAIN_SET_MAX_MEMORY, self.set_max_memory)
        handlers.add(remote_change.DOMAIN_SET_MEMORY_STATS_PERIOD, self.set_memory_stats_period)
        handlers.add(remote_change.DOMAIN_SET_VCPUS, self.set_vcpus)
        handlers.add(remote_change.DOMAIN_SET_VCPUS_FLAGS, self.set_vcpus_flags)
        handlers.add(remote_change.DOMAIN_SET_METADATA, self.set_metadata)
        handlers.add(remote_change.DOMAIN_GET_METADATA, self.get_metadata)
        handlers.add(remote_domain.DOMAIN_SET_AUTOSTART, self.set_autostart)
        handlers.add(remote_domain.DOMAIN_GET_AUTOSTART, self.get_autostart)
        handlers.add(remote_domain.DOMAIN_SET_AUTOSTART_ONCE, self.set_autostart_once)
        handlers.add(remote_domain.DOMAIN_GET_AUTOSTART_ONCE, self.get_autostart_once)
        handlers.add(remote_change.DOMAIN_ANNOUNCE_INTERFACE, self.announce_interface)
        handlers.add(remote_change.DOMAIN_GRAPHICS_RELOAD, self.graphics_reload)
        handlers.add(remote_change.DOMAIN_SEND_KEY, self.send_key)
        handlers.add(remote_change.DOMAIN_INJECT_NMI, self.inject_nmi)
        handlers.add(remote_change.DOMAIN_PM_WAKEUP, self.pm_wakeup)

    async def set_memory(self, session: Session, args: remote_change.DomainMemoryArgs) -> Void:
        await memory.set_memory(self._service.domain(args.dom), args.memory, AffectFlag.LIVE)
        return Void()

    async def set_memory_flags(self, session: Session, args: remote_change.DomainMemoryFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainSetMemoryFlags", IMPACT | MemoryFlag.MAXIMUM)
        await memory.set_memory(self._service.domain(args.dom), args.memory, args.flags)
        return Void()

    async def set_max_memory(self, session: Session, args: remote_change.DomainMemoryArgs) -> Void:
        await memory.set_memory(self._service.domain(args.dom), args.memory, MemoryFlag.MAXIMUM)
        return Void()

    async def set_memory_stats_period(
        self, session: Session, args: remote_change.DomainMemoryStatsPeriodArgs
    ) -> Void:
        no_flags(args.flags, "qemuDomainSetMemoryStatsPeriod", IMPACT)
        await memory.set_period(self._service.domain(args.dom), args.period, args.flags)
        return Void()

    async def set_vcpus(self, session: Session, args: remote_change.DomainSetVcpusArgs) -> Void:
        await vcpus.set_count(self._service.domain(args.dom), args.nvcpus, AffectFlag.LIVE)
        return Void()

    async def set_vcpus_flags(self, session: Session, args: remote_change.DomainSetVcpusFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainSetVcpusFlags", IMPACT | sum(VcpuFlag))
        if args.flags & VcpuFlag.GUEST:
            raise errors.ArgumentUnsupported("processors are not switched by the guest agent")
        await vcpus.set_count(self._service.domain(args.dom), args.nvcpus, args.flags)
        return Void()

    async def set_metadata(self, session: Session, args: remote_change.DomainSetMetadataArgs) -> Void:
        no_flags(args.flags, "qemuDomainSetMetadata", IMPACT)
        domain = self._service.domain(args.dom)
        await description.change(domain, args.type, args.flags, text=args.metadata, key=args.key, uri=args.uri)
        return Void()

    async def get_metadata(
        self, session: Session, args: remote_change.DomainMetadataArgs
    ) -> remote_change.MetadataRet:
        no_flags(args.flags, "qemuDomainGetMetadata", IMPACT)
        return remote_change.MetadataRet(
            await description.get(self._service.domain(args.dom), args.type, args.uri, args.flags)
        )

    async def set_autostart(self, session: Session, args: remote_domain.DomainSetAutostartArgs) -> Void:
        await autostart.set_autostart(self._service.domain(args.dom), bool(args.autostart))
        return Void()

    async def get_autostart(self, session: Session, args: shapes.DomainArgs) -> remote_domain.AutostartRet:
        return remote_domain.AutostartRet(int(self._service.domain(args.dom).autostart))

    async def set_autostart_once(self, session: Session, args: remote_domain.DomainSetAutostartArgs) -> Void:
        await autostart.set_autostart(self._service.domain(args.dom), bool(args.autostart), once=True)
        return Void()

    async def get_autostart_once(self, session: Session, args: shapes.DomainArgs) -> remote_domain.AutostartRet:
        return remote_domain.AutostartRet(int(self._service.domain(args.dom).autostart_once))

    async def announce_interface(self, session: Session, args: remote_change.DomainAnnounceInterfaceArgs) -> Void:
        no_flags(args.flags, "qemuDomainAnnounceInterface")
        told = typed_params.decode(args.params, cards.ANNOUNCE_PARAMS)
        await cards.announce(self._service.domain(args.dom), args.device, dict(told))
        return Void()

    async def graphics_reload(self, session: Session, args: remote_change.DomainGraphicsReloadArgs) -> Void:
        no_flags(args.flags, "qemuDomainGraphicsReload")
        await vnc.reload_certificates(self._service.domain(args.dom), args.type)
        return Void()

    async def send_key(self, session: Session, args: remote_change.DomainSendKeyArgs) -> Void:
        no_flags(args.flags, "qemuDomainSendKey")
        await keys.send(self._service.domain(args.dom), args.codeset, args.keycodes, args.holdtime)
        return Void()

    async def inject_nmi(self, session: Session, args: shapes.DomainFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainInjectNMI")
        await self._service.domain(args.dom).monitor.execute("inject-nmi")
        return Void()

    async def pm_wakeup(self, session: Session, args: shapes.DomainFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainPMWakeup")
        await self._service.domain(args.dom).monitor.execute("system_wakeup")
        return Void()
