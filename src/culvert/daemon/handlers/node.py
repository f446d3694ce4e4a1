"""What a client asks about the host: its size, what it is doing, which guests it can run."""

from __future__ import annotations

import asyncio

from lxml import etree

from culvert.daemon import lib_version
from culvert.daemon.service import Service, no_flags
from culvert.domain import parse
from culvert.drivers.qemu import swtpm, vcpus
from culvert.drivers.qemu.abilities import cpumodels, domcaps, firmware, nodeinfo, nodestats
from culvert.ground import errors
from culvert.io import apart
from culvert.protocol import remote_connect, shapes, types
from culvert.protocol.constants_flag import TypedParamFlag
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

MODELS_MAX = 8192  # REMOTE_CONNECT_CPU_MODELS_MAX
INCOMPATIBLE_IS_ERROR, VALIDATE = 1, 2  # VIR_CONNECT_COMPARE_CPU_*
EXPAND_FEATURES, MIGRATABLE = 1, 2  # VIR_CONNECT_BASELINE_CPU_*
# VIR_CONNECT_GET_DOMAIN_CAPABILITIES_*, of libvirt 11.0 to 12.5: how much is said of host-model's features. There is
# no such mode here, so each of them is fulfilled.
HOST_MODEL_FEATURES = 1 | 2 | 4
CELLS_MAX = 1024  # REMOTE_NODE_MAX_CELLS


class NodeHandlers:
    """Handlers of the host group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_connect.NODE_GET_INFO, self.node_get_info)
        handlers.add(remote_connect.NODE_GET_FREE_MEMORY, self.node_get_free_memory)
        handlers.add(remote_connect.NODE_GET_CELLS_FREE_MEMORY, self.node_get_cells_free_memory)
        handlers.add(remote_connect.NODE_GET_FREE_PAGES, self.node_get_free_pages)
        handlers.add(remote_connect.NODE_GET_CPU_STATS, self.node_get_cpu_stats)
        handlers.add(remote_connect.NODE_GET_MEMORY_STATS, self.node_get_memory_stats)
        handlers.add(remote_connect.NODE_GET_CPU_MAP, self.node_get_cpu_map)
        handlers.add(remote_connect.NODE_GET_SECURITY_MODEL, self.node_get_security_model)
        handlers.add(remote_connect.CONNECT_GET_CAPABILITIES, self.get_capabilities)
        handlers.add(remote_connect.CONNECT_GET_DOMAIN_CAPABILITIES, self.get_domain_capabilities)
        handlers.add(remote_connect.CONNECT_GET_CPU_MODEL_NAMES, self.get_cpu_model_names)
        handlers.add(remote_connect.CONNECT_COMPARE_HYPERVISOR_CPU, self.compare_hypervisor_cpu)
        handlers.add(remote_connect.CONNECT_BASELINE_HYPERVISOR_CPU, self.baseline_hypervisor_cpu)
        handlers.add(remote_connect.CONNECT_COMPARE_CPU, self.compare_cpu)
        handlers.add(remote_connect.CONNECT_BASELINE_CPU, self.baseline_cpu)
        handlers.add(remote_connect.NODE_GET_MEMORY_PARAMETERS, self.node_get_memory_parameters)
        handlers.add(remote_connect.CONNECT_GET_SYSINFO, self.get_sysinfo)

    async def node_get_info(self, session: Session, args: Void) -> remote_connect.NodeInfoRet:
        info = await self._service.driver.node_info()
        return remote_connect.NodeInfoRet(
            info.model, info.memory, info.cpus, info.mhz, info.nodes, info.sockets, info.cores, info.threads
        )

    async def node_get_free_memory(self, session: Session, args: Void) -> remote_connect.FreeMemoryRet:
        return remote_connect.FreeMemoryRet(await asyncio.to_thread(nodeinfo.free_memory))

    async def node_get_cells_free_memory(
        self, session: Session, args: remote_connect.NodeCellsFreeMemoryArgs
    ) -> remote_connect.NodeCellsFreeMemoryRet:
        most = min(args.maxcells, CELLS_MAX)
        return remote_connect.NodeCellsFreeMemoryRet(
            await asyncio.to_thread(nodestats.free_of_cells, args.start_cell, most)
        )

    async def node_get_free_pages(
        self, session: Session, args: remote_connect.NodeFreePagesArgs
    ) -> remote_connect.NodeFreePagesRet:
        no_flags(args.flags, "qemuNodeGetFreePages")
        if len(args.pages) * args.cell_count > CELLS_MAX:
            raise errors.RpcError(f"too many NUMA cells: {args.cell_count}, at most {CELLS_MAX}")
        cells = range(args.start_cell, args.start_cell + args.cell_count)
        counts = [await asyncio.to_thread(nodestats.free_pages, size, cell) for cell in cells for size in args.pages]
        return remote_connect.NodeFreePagesRet(counts)

    async def node_get_cpu_stats(
        self, session: Session, args: remote_connect.NodeCPUStatsArgs
    ) -> remote_connect.NodeStatsRet:
        no_flags(args.flags, "qemuNodeGetCPUStats")
        return _stats(await asyncio.to_thread(nodestats.cpu_times, args.cpu_num), args.nparams)

    async def node_get_memory_stats(
        self, session: Session, args: remote_connect.NodeMemoryStatsArgs
    ) -> remote_connect.NodeStatsRet:
        no_flags(args.flags, "qemuNodeGetMemoryStats")
        return _stats(await asyncio.to_thread(nodestats.memory, args.cell_num), args.nparams)

    async def node_get_cpu_map(
        self, session: Session, args: remote_connect.NodeCPUMapArgs
    ) -> remote_connect.NodeCPUMapRet:
        no_flags(args.flags, "qemuNodeGetCPUMap")
        present = await asyncio.to_thread(nodestats.present_cpus)
        online = frozenset(cpu.id for cpu in await asyncio.to_thread(nodeinfo.cpus))
        cpumap = vcpus.packed(online, -(-present // vcpus.BITS)) if args.need_map else b""
        return remote_connect.NodeCPUMapRet(cpumap, len(online) if args.need_online else 0, present)

    async def node_get_security_model(self, session: Session, args: Void) -> remote_connect.SecurityModelRet:
        return remote_connect.SecurityModelRet("", "")

    async def get_capabilities(self, session: Session, args: Void) -> shapes.CapabilitiesRet:
        clusters = self._service.lib_version >= lib_version.CLUSTERS
        return shapes.CapabilitiesRet(await self._service.driver.capabilities(clusters=clusters))

    async def get_domain_capabilities(
        self, session: Session, args: remote_connect.DomainCapabilitiesArgs
    ) -> shapes.CapabilitiesRet:
        no_flags(args.flags, "qemuConnectGetDomainCapabilities", HOST_MODEL_FEATURES)
        emulators = self._service.driver.host.emulators
        path = args.emulatorbin or await asyncio.to_thread(emulators.of_arch, args.arch)
        await emulators.others()
        known = emulators.known(path)
        about = domcaps.question(known, args.emulatorbin, args.arch, args.machine, args.virttype)
        installed = await asyncio.to_thread(firmware.present)
        tpms = await swtpm.versions(self._service.driver.layout.state)
        return shapes.CapabilitiesRet(domcaps.build(known, about, installed, tpms))

    async def get_cpu_model_names(
        self, session: Session, args: remote_connect.CPUModelNamesArgs
    ) -> remote_connect.CPUModelNamesRet:
        no_flags(args.flags, "qemuConnectGetCPUModelNames")
        if args.arch not in ("x86_64", "i686"):
            raise errors.InvalidArgument(f"invalid argument: cannot find architecture {args.arch}")
        names = domcaps.models(self._service.driver.host.machines)[:MODELS_MAX]
        return remote_connect.CPUModelNamesRet(names if args.need_results else [], len(names))

    async def compare_hypervisor_cpu(
        self, session: Session, args: remote_connect.CompareHypervisorCPUArgs
    ) -> remote_connect.CompareCPURet:
        no_flags(args.flags, "qemuConnectCompareHypervisorCPU", INCOMPATIBLE_IS_ERROR | VALIDATE)
        known = self._service.driver.host.machines
        cpumodels.emulated(known, args.emulator, args.arch, args.virttype)
        insist = bool(args.flags & INCOMPATIBLE_IS_ERROR)
        return remote_connect.CompareCPURet(
            int(await apart.run(lambda: cpumodels.compare(known, parse.parse_cpu(args.xml_cpu), insist=insist)))
        )

    async def baseline_hypervisor_cpu(
        self, session: Session, args: remote_connect.BaselineHypervisorCPUArgs
    ) -> remote_connect.BaselineCPURet:
        # MIGRATABLE: nothing that is emulated keeps a guest from moving.
        no_flags(args.flags, "qemuConnectBaselineHypervisorCPU", EXPAND_FEATURES | MIGRATABLE)
        known = self._service.driver.host.machines
        cpumodels.emulated(known, args.emulator, args.arch, args.virttype)
        texts, expand = args.xml_cpus, bool(args.flags & EXPAND_FEATURES)
        return remote_connect.BaselineCPURet(
            await apart.run(
                lambda: cpumodels.baseline(known, [parse.parse_cpu(text) for text in texts], expand=expand)
            )
        )

    async def compare_cpu(
        self, session: Session, args: remote_connect.CompareCPUArgs
    ) -> remote_connect.CompareCPURet:
        """Guests see what QEMU emulates, never the host's own processor: that is what is compared with."""
        no_flags(args.flags, "qemuConnectCompareCPU", INCOMPATIBLE_IS_ERROR | VALIDATE)
        insist = bool(args.flags & INCOMPATIBLE_IS_ERROR)
        wanted = parse.parse_cpu(args.xml, of_host=True)
        known = self._service.driver.host.machines
        return remote_connect.CompareCPURet(int(cpumodels.compare(known, wanted, insist=insist)))

    async def baseline_cpu(
        self, session: Session, args: remote_connect.BaselineCPUArgs
    ) -> remote_connect.BaselineCPURet:
        no_flags(args.flags, "qemuConnectBaselineCPU", EXPAND_FEATURES | MIGRATABLE)
        cpus = [parse.parse_cpu(text, of_host=True) for text in args.xml_cpus]
        expand = bool(args.flags & EXPAND_FEATURES)
        return remote_connect.BaselineCPURet(
            cpumodels.baseline(self._service.driver.host.machines, cpus, expand=expand)
        )

    async def node_get_memory_parameters(
        self, session: Session, args: remote_connect.NodeMemoryParametersArgs
    ) -> remote_connect.NodeMemoryParametersRet:
        no_flags(args.flags, "qemuNodeGetMemoryParameters", TypedParamFlag.STRING_OKAY)
        told = [
            types.TypedParam(name, (types.TypedParamType.ULLONG if long else types.TypedParamType.UINT, value))
            for name, value, long in await asyncio.to_thread(nodestats.shared_memory)
        ]
        return remote_connect.NodeMemoryParametersRet(told[: max(args.nparams, 0)], len(told))

    async def get_sysinfo(self, session: Session, args: shapes.FlagsArgs) -> remote_connect.SysinfoRet:
        no_flags(args.flags, "qemuConnectGetSysinfo")
        root = etree.Element("sysinfo", type="smbios")
        for block, entries in (await asyncio.to_thread(nodestats.sysinfo)).items():
            parent = etree.SubElement(root, block)
            for name, text in entries.items():
                etree.SubElement(parent, "entry", name=name).text = text
        etree.indent(root)
        return remote_connect.SysinfoRet(str(etree.tostring(root, encoding="unicode")) + "\n")


def _stats(told: list[tuple[str, int]], most: int) -> remote_connect.NodeStatsRet:
    return remote_connect.NodeStatsRet([types.NodeStat(*each) for each in told[: max(most, 0)]], len(told))
