"""What a guest may use of its host: shares and limits, the CPUs it runs on."""

from __future__ import annotations

from collections.abc import Mapping

from culvert.daemon.service import Service, no_flags
from culvert.domain.bandwidth import Bandwidth, Rate
from culvert.domain.interface import Interface
from culvert.drivers.qemu import blockstats, card_change, impact, iothreading, iotune, pinning, tuning
from culvert.ground import errors
from culvert.ground.units import KiB
from culvert.protocol import remote_tune, shapes, typed_params
from culvert.protocol.constants_flag import AffectFlag, TypedParamFlag
from culvert.protocol.constants_migrate import ParamSpec
from culvert.protocol.types import TypedParam, TypedParamType
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

SCHEDULER = "posix"
RESIZE_BYTES = 1  # VIR_DOMAIN_BLOCK_RESIZE_BYTES
BLOCK_IO_PARAMS = {one.field: ParamSpec(TypedParamType(one.value[0])) for one in tuning.BLOCK_IO.params}
IMPACT = AffectFlag.LIVE | AffectFlag.CONFIG
FLAGS = IMPACT | TypedParamFlag.STRING_OKAY
WAYS = ("inbound", "outbound")


class TuneHandlers:
    """Handlers of the tuning group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_tune.DOMAIN_GET_SCHEDULER_TYPE, self.get_scheduler_type)
        handlers.add(remote_tune.DOMAIN_GET_SCHEDULER_PARAMETERS, self.get_scheduler_parameters)
        handlers.add(remote_tune.DOMAIN_GET_SCHEDULER_PARAMETERS_FLAGS, self.get_scheduler_parameters_flags)
        handlers.add(remote_tune.DOMAIN_GET_MEMORY_PARAMETERS, self.get_memory_parameters)
        handlers.add(remote_tune.DOMAIN_GET_BLKIO_PARAMETERS, self.get_blkio_parameters)
        handlers.add(remote_tune.DOMAIN_GET_NUMA_PARAMETERS, self.get_numa_parameters)
        handlers.add(remote_tune.DOMAIN_GET_BLOCK_IO_TUNE, self.get_block_io_tune)
        handlers.add(remote_tune.DOMAIN_SET_BLOCK_IO_TUNE, self.set_block_io_tune)
        handlers.add(remote_tune.DOMAIN_GET_INTERFACE_PARAMETERS, self.get_interface_parameters)
        handlers.add(remote_tune.DOMAIN_SET_INTERFACE_PARAMETERS, self.set_interface_parameters)
        handlers.add(remote_tune.DOMAIN_GET_PERF_EVENTS, self.get_perf_events)
        handlers.add(remote_tune.DOMAIN_GET_LAUNCH_SECURITY_INFO, self.get_launch_security_info)
        handlers.add(remote_tune.DOMAIN_PIN_VCPU, self.pin_vcpu)
        handlers.add(remote_tune.DOMAIN_PIN_VCPU_FLAGS, self.pin_vcpu_flags)
        handlers.add(remote_tune.DOMAIN_PIN_EMULATOR, self.pin_emulator)
        handlers.add(remote_tune.DOMAIN_PIN_IOTHREAD, self.pin_iothread)
        handlers.add(remote_tune.DOMAIN_ADD_IOTHREAD, self.add_iothread)
        handlers.add(remote_tune.DOMAIN_DEL_IOTHREAD, self.del_iothread)
        handlers.add(remote_tune.DOMAIN_BLOCK_RESIZE, self.block_resize)

    async def get_scheduler_type(self, session: Session, args: shapes.DomainArgs) -> remote_tune.SchedulerTypeRet:
        return remote_tune.SchedulerTypeRet(SCHEDULER, tuning.scheduler(self._service.domain(args.dom)))

    async def get_scheduler_parameters(
        self, session: Session, args: remote_tune.DomainSchedulerParametersArgs
    ) -> remote_tune.SchedulerParametersRet:
        told = tuning.ask(self._service.domain(args.dom), tuning.SCHEDULER, 0)
        return remote_tune.SchedulerParametersRet(told[: max(args.nparams, 0)])

    async def get_scheduler_parameters_flags(
        self, session: Session, args: remote_tune.DomainParametersArgs
    ) -> remote_tune.SchedulerParametersRet:
        no_flags(args.flags, "qemuDomainGetSchedulerParametersFlags", FLAGS)
        told = tuning.ask(self._service.domain(args.dom), tuning.SCHEDULER, args.flags)
        return remote_tune.SchedulerParametersRet(told[: max(args.nparams, 0)])

    def _asked(self, args: remote_tune.DomainParametersArgs, group: tuning.Group, function: str) -> list[TypedParam]:
        """Empty when only their number is asked for, which is known without looking."""
        no_flags(args.flags, function, FLAGS)
        domain = self._service.domain(args.dom)
        return tuning.ask(domain, group, args.flags)[: args.nparams] if args.nparams > 0 else []

    async def get_memory_parameters(
        self, session: Session, args: remote_tune.DomainParametersArgs
    ) -> remote_tune.ParametersRet:
        told = self._asked(args, tuning.MEMORY, "qemuDomainGetMemoryParameters")
        return remote_tune.ParametersRet(told, len(told) or len(tuning.MEMORY.params))

    async def get_blkio_parameters(
        self, session: Session, args: remote_tune.DomainParametersArgs
    ) -> remote_tune.ParametersRet:
        told = self._asked(args, tuning.BLKIO, "qemuDomainGetBlkioParameters")
        return remote_tune.ParametersRet(told, len(told) or len(tuning.BLKIO.params))

    async def get_numa_parameters(
        self, session: Session, args: remote_tune.DomainParametersArgs
    ) -> remote_tune.ParametersRet:
        told = self._asked(args, tuning.NUMA, "qemuDomainGetNumaParameters")
        return remote_tune.ParametersRet(told, len(told) or len(tuning.NUMA.params))

    async def get_block_io_tune(
        self, session: Session, args: remote_tune.DomainBlockIoTuneArgs
    ) -> remote_tune.BlockIoTuneRet:
        no_flags(args.flags, "qemuDomainGetBlockIoTune", FLAGS)
        domain = self._service.domain(args.dom)
        told = tuning.ask(domain, tuning.BLOCK_IO, args.flags)
        if args.disk is None or args.nparams <= 0:
            return remote_tune.BlockIoTuneRet([], len(told))
        kept = domain.persistent if args.flags & AffectFlag.CONFIG else None
        disk = iotune.find(kept or domain.definition, args.disk, running=domain.is_active and kept is None)
        now = iotune.current(disk.iotune)
        told = [TypedParam(one.field, (one.value[0], now[one.field])) for one in told][: args.nparams]
        return remote_tune.BlockIoTuneRet(told, len(told))

    async def set_block_io_tune(self, session: Session, args: remote_tune.DomainSetBlockIoTuneArgs) -> Void:
        no_flags(args.flags, "qemuDomainSetBlockIoTune", FLAGS)
        told = typed_params.decode(args.params, BLOCK_IO_PARAMS)
        await iotune.change(self._service.domain(args.dom), args.disk, dict(told), args.flags & IMPACT)
        return Void()

    async def get_interface_parameters(
        self, session: Session, args: remote_tune.DomainInterfaceParametersArgs
    ) -> remote_tune.ParametersRet:
        no_flags(args.flags, "qemuDomainGetInterfaceParameters", FLAGS)
        domain = self._service.domain(args.dom)
        told = tuning.ask(domain, tuning.INTERFACE, args.flags)
        if args.nparams <= 0:
            return remote_tune.ParametersRet([], len(told))
        card = card_change.find(impact.chosen(domain, args.flags & IMPACT), args.device)
        told = [_of_card(card, param) for param in told[: args.nparams]]
        return remote_tune.ParametersRet(told, len(told))

    async def set_interface_parameters(
        self, session: Session, args: remote_tune.DomainSetInterfaceParametersArgs
    ) -> Void:
        no_flags(args.flags, "qemuDomainSetInterfaceParameters", IMPACT)
        table = {param.field: ParamSpec(TypedParamType.UINT) for param in tuning.INTERFACE.params}
        given = {name: int(value) for name, value in typed_params.decode(args.params, table)}
        rates = {way: _rate(given, way) for way in WAYS}
        ways = frozenset(way for way in WAYS if given.keys() & {f"{way}.average", f"{way}.floor"})
        domain = self._service.domain(args.dom)
        await card_change.set_bandwidth(domain, args.device, Bandwidth(**rates), ways, args.flags)
        return Void()

    async def get_perf_events(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_tune.ManyParametersRet:
        no_flags(args.flags, "qemuDomainGetPerfEvents", FLAGS)
        return remote_tune.ManyParametersRet(tuning.ask(self._service.domain(args.dom), tuning.PERF, args.flags))

    async def get_launch_security_info(
        self, session: Session, args: shapes.DomainFlagsArgs
    ) -> remote_tune.ManyParametersRet:
        no_flags(args.flags, "qemuDomainGetLaunchSecurityInfo", TypedParamFlag.STRING_OKAY)
        self._service.domain(args.dom)
        return remote_tune.ManyParametersRet([])  # no guest's memory is encrypted

    async def pin_vcpu(self, session: Session, args: remote_tune.DomainPinVcpuArgs) -> Void:
        await pinning.pin_vcpu(self._service.domain(args.dom), args.vcpu, args.cpumap, AffectFlag.LIVE)
        return Void()

    async def pin_vcpu_flags(self, session: Session, args: remote_tune.DomainPinVcpuFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainPinVcpuFlags", IMPACT)
        await pinning.pin_vcpu(self._service.domain(args.dom), args.vcpu, args.cpumap, args.flags)
        return Void()

    async def pin_emulator(self, session: Session, args: remote_tune.DomainPinEmulatorArgs) -> Void:
        no_flags(args.flags, "qemuDomainPinEmulator", IMPACT)
        await pinning.pin_emulator(self._service.domain(args.dom), args.cpumap, args.flags)
        return Void()

    async def pin_iothread(self, session: Session, args: remote_tune.DomainPinIOThreadArgs) -> Void:
        no_flags(args.flags, "qemuDomainPinIOThread", IMPACT)
        await iothreading.pin(self._service.domain(args.dom), args.iothreads_id, args.cpumap, args.flags)
        return Void()

    async def add_iothread(self, session: Session, args: remote_tune.DomainIOThreadArgs) -> Void:
        no_flags(args.flags, "qemuDomainAddIOThread", IMPACT)
        await iothreading.add(self._service.domain(args.dom), args.iothread_id, args.flags)
        return Void()

    async def del_iothread(self, session: Session, args: remote_tune.DomainIOThreadArgs) -> Void:
        no_flags(args.flags, "qemuDomainDelIOThread", IMPACT)
        await iothreading.remove(self._service.domain(args.dom), args.iothread_id, args.flags)
        return Void()

    async def block_resize(self, session: Session, args: remote_tune.DomainBlockResizeArgs) -> Void:
        no_flags(args.flags, "qemuDomainBlockResize", RESIZE_BYTES)
        unit = 1 if args.flags & RESIZE_BYTES else KiB
        if args.size * unit >= 2**64:
            raise errors.Overflow(f"size must be less than {(2**64 - 1) // KiB}")
        await blockstats.resize(self._service.domain(args.dom), args.disk, args.size * unit)
        return Void()


def _of_card(card: Interface, param: TypedParam) -> TypedParam:
    """``inbound.average`` and the like, 0 where nothing holds the card back."""
    way, _, what = param.field.partition(".")
    rate = getattr(card.bandwidth, way) if card.bandwidth is not None else None
    value = getattr(rate, what) if rate is not None else None
    return TypedParam(param.field, (param.value[0], value or 0))


def _rate(given: Mapping[str, int], way: str) -> Rate | None:
    """What is to hold one way back; ``None``: nothing, or it is not spoken of."""
    told = {what: given.get(f"{way}.{what}") or None for what in ("average", "peak", "burst", "floor")}
    return Rate(**told) if told["average"] or told["floor"] else None
