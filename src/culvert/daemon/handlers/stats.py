"""Measurements of a domain: processors, memory, disks, network cards, all of it at once."""

from __future__ import annotations

import asyncio

from culvert.daemon.service import Service, no_flags, on_wire
from culvert.drivers.qemu import balloon, blockstats, domstats, iothreading, network, threads, vcpus
from culvert.drivers.qemu.abilities import nodeinfo
from culvert.drivers.qemu.blockstats import Work
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.protocol import remote_stats, shapes, types
from culvert.protocol.constants_flag import AffectFlag, AllStatsFlag, ListFlag, StatsGroup, TypedParamFlag, VcpuFlag
from culvert.protocol.types import TypedParam, TypedParamType
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session

BANDWIDTH_BYTES = 1  # VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES
IMPACT = AffectFlag.LIVE | AffectFlag.CONFIG
# VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE … _OTHER are the same bits as the filters of a list.
STATS_FILTERS = (
    *(ListFlag.ACTIVE, ListFlag.INACTIVE, ListFlag.PERSISTENT, ListFlag.TRANSIENT),
    *(ListFlag.RUNNING, ListFlag.PAUSED, ListFlag.SHUTOFF, ListFlag.OTHER),
)


class StatsHandlers:
    """Handlers of the measuring group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_stats.CONNECT_GET_ALL_DOMAIN_STATS, self.all_domain_stats)
        handlers.add(remote_stats.DOMAIN_MEMORY_STATS, self.memory_stats)
        handlers.add(remote_stats.DOMAIN_GET_VCPUS, self.get_vcpus)
        handlers.add(remote_stats.DOMAIN_GET_VCPU_PIN_INFO, self.get_vcpu_pin_info)
        handlers.add(remote_stats.DOMAIN_GET_EMULATOR_PIN_INFO, self.get_emulator_pin_info)
        handlers.add(remote_stats.DOMAIN_GET_CPU_STATS, self.get_cpu_stats)
        handlers.add(remote_stats.DOMAIN_GET_BLOCK_INFO, self.get_block_info)
        handlers.add(remote_stats.DOMAIN_GET_BLOCK_JOB_INFO, self.get_block_job_info)
        handlers.add(remote_stats.DOMAIN_BLOCK_STATS, self.block_stats)
        handlers.add(remote_stats.DOMAIN_BLOCK_STATS_FLAGS, self.block_stats_flags)
        handlers.add(remote_stats.DOMAIN_GET_DISK_ERRORS, self.get_disk_errors)
        handlers.add(remote_stats.DOMAIN_INTERFACE_STATS, self.interface_stats)
        handlers.add(remote_stats.DOMAIN_GET_IOTHREAD_INFO, self.get_iothread_info)

    async def all_domain_stats(
        self, session: Session, args: remote_stats.AllDomainStatsArgs
    ) -> remote_stats.AllDomainStatsRet:
        filters = sum(STATS_FILTERS)
        switches = AllStatsFlag.NOWAIT | AllStatsFlag.BACKING | AllStatsFlag.ENFORCE_STATS
        no_flags(args.flags, "qemuConnectGetAllDomainStats", filters | switches)
        known = sum(StatsGroup)
        if args.flags & AllStatsFlag.ENFORCE_STATS and args.stats & ~known:
            raise errors.InvalidArgument(
                f"invalid argument: Stats types bits 0x{args.stats & ~known:x} are not supported by this daemon"
            )
        wanted = {dom.uuid for dom in args.doms}
        found = [
            domain
            for domain in self._service.domains(args.flags & filters)
            if not wanted or domain.uuid.bytes in wanted
        ]
        # All at once: a QEMU that does not answer holds up its own numbers only.
        async with asyncio.TaskGroup() as tasks:
            told = [
                tasks.create_task(domstats.collect(domain, args.stats), name=f"stats-{domain.name}")
                for domain in found
            ]
        return remote_stats.AllDomainStatsRet(
            [
                types.DomainStatsRecord(on_wire(domain), task.result())
                for domain, task in zip(found, told, strict=True)
            ]
        )

    async def memory_stats(
        self, session: Session, args: remote_stats.DomainMemoryStatsArgs
    ) -> remote_stats.DomainMemoryStatsRet:
        no_flags(args.flags, "qemuDomainMemoryStats")
        told = await balloon.statistics(self._service.domain(args.dom))
        return remote_stats.DomainMemoryStatsRet(
            [types.DomainMemoryStat(int(tag), value) for tag, value in told[: args.max_stats]]
        )

    async def get_vcpus(self, session: Session, args: remote_stats.DomainVcpusArgs) -> remote_stats.DomainVcpusRet:
        _check_map(args.maxinfo, args.maplen)
        found = (await vcpus.running(self._service.domain(args.dom)))[: args.maxinfo]
        info = [types.VcpuInfo(one.number, int(one.state), one.times.total, one.times.cpu) for one in found]
        return remote_stats.DomainVcpusRet(info, b"".join(vcpus.packed(one.affinity, args.maplen) for one in found))

    async def get_vcpu_pin_info(
        self, session: Session, args: remote_stats.DomainVcpuPinInfoArgs
    ) -> remote_stats.DomainVcpuPinInfoRet:
        no_flags(args.flags, "qemuDomainGetVcpuPinInfo", IMPACT)
        _check_map(args.ncpumaps, args.maplen)
        domain = self._service.domain(args.dom)
        number = min(vcpus.count(domain, args.flags | VcpuFlag.MAXIMUM), args.ncpumaps)
        free = vcpus.packed(await _host_cpus(), args.maplen)
        maps = [free] * number
        if domain.is_active and not args.flags & AffectFlag.CONFIG:
            for one in await vcpus.running(domain):
                if one.number < number:
                    maps[one.number] = vcpus.packed(one.affinity, args.maplen)
        return remote_stats.DomainVcpuPinInfoRet(b"".join(maps), number)

    async def get_emulator_pin_info(
        self, session: Session, args: remote_stats.DomainEmulatorPinInfoArgs
    ) -> remote_stats.DomainEmulatorPinInfoRet:
        no_flags(args.flags, "qemuDomainGetEmulatorPinInfo", IMPACT)
        _check_map(1, args.maplen)
        domain = self._service.domain(args.dom)
        process = domain.run.process if domain.run else None
        live = process is not None and not args.flags & AffectFlag.CONFIG
        cpus = threads.affinity(process.pid) if live and process is not None else await _host_cpus()
        return remote_stats.DomainEmulatorPinInfoRet(vcpus.packed(cpus, args.maplen), 1)

    async def get_cpu_stats(
        self, session: Session, args: remote_stats.DomainCPUStatsArgs
    ) -> remote_stats.DomainCPUStatsRet:
        """The total; the kernel counts no process CPU by CPU."""
        no_flags(args.flags, "qemuDomainGetCPUStats", TypedParamFlag.STRING_OKAY)
        run = self._service.domain(args.dom).require_active()
        if args.start_cpu != -1:
            raise errors.OperationUnsupported("CPU time of a domain is known as a total only")
        times = threads.of_process(run.process.pid) if run.process else threads.Times()
        told = [("cpu_time", times.total), ("user_time", times.user), ("system_time", times.system)]
        params = [TypedParam(name, (TypedParamType.ULLONG, value)) for name, value in told]
        return remote_stats.DomainCPUStatsRet(params[: args.nparams], len(params))

    async def get_block_info(self, session: Session, args: remote_stats.DomainBlockArgs) -> remote_stats.BlockInfoRet:
        no_flags(args.flags, "qemuDomainGetBlockInfo")
        domain = self._service.domain(args.dom)
        sizes = await blockstats.sizes(domain, blockstats.find(domain, args.path))
        return remote_stats.BlockInfoRet(sizes.allocation, sizes.capacity, sizes.physical)

    async def get_block_job_info(
        self, session: Session, args: remote_stats.DomainBlockArgs
    ) -> remote_stats.BlockJobInfoRet:
        """No job is ever begun on a disk here."""
        no_flags(args.flags, "qemuDomainGetBlockJobInfo", BANDWIDTH_BYTES)
        domain = self._service.domain(args.dom)
        domain.require_active()
        disks = domain.definition.devices.disks
        if all(args.path not in (disk.target.dev, disk.path) for disk in disks):
            raise errors.InvalidArgument(f"disk '{args.path}' not found in domain")
        return remote_stats.BlockJobInfoRet(0, 0, 0, 0, 0)

    async def block_stats(
        self, session: Session, args: remote_stats.DomainBlockStatsArgs
    ) -> remote_stats.BlockStatsRet:
        work = await self._work(self._service.domain(args.dom), args.path)
        return remote_stats.BlockStatsRet(work.reads, work.read_bytes, work.writes, work.written_bytes, -1)

    async def block_stats_flags(
        self, session: Session, args: remote_stats.DomainBlockStatsFlagsArgs
    ) -> remote_stats.BlockStatsFlagsRet:
        no_flags(args.flags, "qemuDomainBlockStatsFlags", TypedParamFlag.STRING_OKAY)
        work = await self._work(self._service.domain(args.dom), args.path)
        told = {
            "wr_bytes": work.written_bytes,
            "wr_operations": work.writes,
            "wr_total_times": work.write_ns,
            "rd_bytes": work.read_bytes,
            "rd_operations": work.reads,
            "rd_total_times": work.read_ns,
            "flush_operations": work.flushes,
            "flush_total_times": work.flush_ns,
        }
        params = [TypedParam(name, (TypedParamType.LLONG, value)) for name, value in told.items()]
        return remote_stats.BlockStatsFlagsRet(params[: args.nparams], len(params))

    @staticmethod
    async def _work(domain: Domain, path: str) -> Work:
        """What one disk has done, or with an empty ``path`` all of them together."""
        domain.require_active()
        done = await blockstats.work(domain)
        if not path:
            return sum(done.values(), Work())
        return done.get(blockstats.find(domain, path).alias or "", Work())

    async def get_disk_errors(
        self, session: Session, args: remote_stats.DomainDiskErrorsArgs
    ) -> remote_stats.DomainDiskErrorsRet:
        no_flags(args.flags, "qemuDomainGetDiskErrors")
        domain = self._service.domain(args.dom)
        found = [remote_stats.DiskError(name, int(error)) for name, error in await blockstats.failed(domain)]
        if args.maxerrors == 0:
            return remote_stats.DomainDiskErrorsRet([], len(domain.definition.devices.disks))
        found = found[: args.maxerrors]
        return remote_stats.DomainDiskErrorsRet(found, len(found))

    async def interface_stats(
        self, session: Session, args: remote_stats.DomainInterfaceStatsArgs
    ) -> remote_stats.InterfaceStatsRet:
        domain = self._service.domain(args.dom)
        cards = domain.require_active().definition.devices.interfaces
        card = next((one for one in cards if args.device in (_device(one.target), one.mac)), None)
        if card is None:
            raise errors.InvalidArgument(f"invalid argument: '{args.device}' is not a known interface")
        name = _device(card.target)
        if name is None:
            raise errors.OperationUnsupported(
                f"interface {card.mac} of domain '{domain.name}' has no device on this host"
            )
        told = await asyncio.to_thread(network.traffic, name)
        ways = (told.received, told.sent)
        return remote_stats.InterfaceStatsRet(
            *(count for way in ways for count in (way.bytes, way.packets, way.errors, way.dropped))
        )

    async def get_iothread_info(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_stats.IOThreadInfoRet:
        no_flags(args.flags, "qemuDomainGetIOThreadInfo", IMPACT)
        found = await iothreading.told(self._service.domain(args.dom), args.flags)
        length = -(-len(await asyncio.to_thread(nodeinfo.cpus)) // vcpus.BITS)
        shown = [remote_stats.IOThreadInfo(one.id, vcpus.packed(one.cpus, length)) for one in found]
        return remote_stats.IOThreadInfoRet(shown, len(shown))


def _device(target: object) -> str | None:
    dev = getattr(target, "dev", None)
    return str(dev) if dev else None


def _check_map(number: int, length: int) -> None:
    """Raises ``errors.RpcError`` for maps that no answer could hold."""
    if not 0 <= number <= 16384 or not 0 <= length <= 2048:
        raise errors.RpcError(f"{number} CPU maps of {length} bytes are more than an answer holds")


async def _host_cpus() -> frozenset[int]:
    return frozenset(cpu.id for cpu in await asyncio.to_thread(nodeinfo.cpus))
