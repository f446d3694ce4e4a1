"""Libvirt's own defaults: what a definition means that leaves things out.

``complete`` gives, for the supported subset, the definition that ``virsh define`` followed by ``virsh dumpxml
--inactive`` shows with libvirt 9.0 and QEMU 7.2. Completing twice is completing once, but for the order of
controllers, as with libvirt.

Source: conf/domain_postparse.c and qemu/qemu_domain.c (qemuDomainDefPostParse and below) of libvirt 9.0.
"""

from __future__ import annotations

import uuid as uuids
from dataclasses import replace
from typing import Any

from culvert.domain import (
    addresses,
    defaults_devices,
    firmware,
    iothreads,
    limits,
    memory,
    memory_device,
    sysinfo,
    vcpus,
)
from culvert.domain import numa as nodes
from culvert.domain.cpu import Cpu, CpuModel, Vcpu
from culvert.domain.definition import DomainDef
from culvert.domain.devices import Devices
from culvert.domain.features import Features, Toggle, Tseg
from culvert.domain.host import HostFacts
from culvert.domain.platform import Boot, Os, complete_clock
from culvert.domain.tuning import CpuTune, NumaMemory, NumaNode, NumaTune
from culvert.ground import errors, units

# Of a PC, by the arch of its emulator; that of x86_64 runs i686 as well.
DEFAULT_CPUS = {"x86_64": "qemu64", "i686": "qemu32"}

MACHINE_FAMILIES = ("pc-i440fx-", "pc-q35-")


def complete(definition: DomainDef, host: HostFacts) -> DomainDef:
    """``definition`` with everything filled in that libvirt fills in, checked as a whole.

    Raises ``errors.ConfigUnsupported`` for what this host or culvert cannot do, ``errors.XMLError`` for what
    contradicts itself.
    """
    if definition.type not in host.domain_types:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: Emulator '{host.emulator}' does not support virt type '{definition.type}'"
        )
    uuid = definition.uuid or _told_uuid(definition) or host.uuid
    if not uuid:
        raise errors.InternalError(f"internal error: no UUID was made for domain '{definition.name}'")
    os = _os(definition, host)
    vcpu = _placed(definition)
    counted = vcpus.complete(vcpu, definition.vcpu_states, definition)
    numa = definition.cpu.numa if definition.cpu else None
    numatune = _numatune(definition.numatune, vcpu, len(numa.cells) if numa else 0)
    whole = replace(
        counted,
        uuid=uuid,
        numatune=numatune,
        os=os,
        features=_features(definition.features),
        memtune=limits.limits(definition.memtune),
        cputune=_cputune(definition.cputune, vcpu.count),
        sysinfo=tuple(sysinfo.complete(one, uuid) for one in definition.sysinfo),
        cpu=_cpu(definition, vcpu.count, DEFAULT_CPUS[host.arch]),
        genid=_genid(definition, uuid),
        clock=complete_clock(definition.clock),
        on_poweroff=definition.on_poweroff or "destroy",
        on_reboot=definition.on_reboot or "restart",
        on_crash=definition.on_crash or "destroy",
    )
    whole = _sized(whole)
    count, ids = iothreads.complete(definition.iothreads, definition.iothread_ids)
    whole = replace(whole, iothreads=count, iothread_ids=ids)
    devices = defaults_devices.complete(whole.devices, host, q35=whole.is_q35, seed=f"{host.mac_seed}:{uuid}")
    return addresses.assign(replace(whole, devices=devices))


def _placed(definition: DomainDef) -> Vcpu:
    """Where they run is said, or somebody is asked at the start (virDomainDefPostParseCommon)."""
    vcpu, tune = definition.vcpu or Vcpu(count=1), definition.numatune
    pinned = definition.cputune is not None and (definition.cputune.vcpu_pins or definition.cputune.emulator_pin)
    auto = tune is not None and tune.memory is not None and tune.memory.placement == "auto"
    if auto and vcpu.cpuset is None and not pinned:
        return replace(vcpu, placement="auto")
    if vcpu.placement == "auto":
        return replace(vcpu, cpuset=None)
    return replace(vcpu, placement="static")


def _numatune(told: NumaTune | None, vcpu: Vcpu, nodes: int) -> NumaTune | None:
    """Source: conf/numa_conf.c, virDomainNumatuneSet and virDomainNumatuneNodeParseXML."""
    wanted = told.memory if told else None
    if wanted is None and vcpu.placement == "auto":
        wanted = NumaMemory(placement="auto")
    if wanted is not None:
        fixed = "static" if wanted.nodeset or vcpu.placement != "auto" else "auto"
        placement = wanted.placement or fixed
        if placement == "static" and not wanted.nodeset:
            raise errors.ConfigUnsupported(
                "unsupported configuration: nodeset for NUMA memory tuning must be set if 'placement' is 'static'"
            )
        auto = placement == "auto"
        wanted = replace(wanted, placement="auto" if auto else None, nodeset=None if auto else wanted.nodeset)
    held = told.nodes if told else ()
    _check_nodes(held, wanted, nodes)
    if wanted is None and not held:
        return None
    return NumaTune(memory=wanted, nodes=tuple(sorted(held, key=lambda one: one.cellid)))


def _check_nodes(held: tuple[NumaNode, ...], wanted: NumaMemory | None, nodes: int) -> None:
    if held and wanted is not None and wanted.placement == "auto":
        raise errors.ConfigUnsupported(
            "unsupported configuration: Per-node binding is not compatible with automatic NUMA placement."
        )
    ids = [one.cellid for one in held]
    if held and not nodes:
        raise errors.XMLError("XML error: Element 'memnode' is invalid without any guest NUMA cells")
    if any(one >= nodes for one in ids):
        raise errors.XMLError(
            "XML error: Argument 'cellid' in memnode element must correspond to existing guest's NUMA cell"
        )
    if len(set(ids)) < len(ids):
        raise errors.XMLError("XML error: Multiple memnode elements with one cellid")
    strict = wanted is not None and wanted.mode == "restrictive"
    if strict and any(one.mode != "restrictive" for one in held):
        raise errors.XMLError(
            "XML error: 'restrictive' mode is required in memnode element when mode is 'restrictive' in memory"
            " element"
        )


def _sized(definition: DomainDef) -> DomainDef:
    """How much memory there is, with nodes and modules (virDomainDefPostParseMemory)."""
    cells = definition.cpu.numa if definition.cpu else None
    plugged = memory.modules(definition)
    size = cells.memory + plugged if cells is not None and cells.memory else definition.memory
    if plugged > size:
        raise errors.XMLError("XML error: Total size of memory devices exceeds the total memory size")
    if size - plugged == 0:
        raise errors.XMLError("XML error: Memory size must be specified via <memory> or in the <numa> configuration")
    most = definition.max_memory
    if most is not None and not most.size and not most.slots:
        most = None
    if most is not None and not (most.size and most.slots):
        raise errors.XMLError("XML error: both maximum memory size and memory slot count must be specified")
    if most is not None and (most.size or 0) < size:
        raise errors.XMLError("XML error: maximum memory size must be equal or greater than the actual memory size")
    held = memory_device.place(definition.devices.memories, most.slots or 0 if most else 0)
    return replace(
        definition,
        max_memory=most,
        memory=size,
        current_memory=min(definition.current_memory or size, size),
        devices=replace(definition.devices, memories=held),
    )


def _genid(definition: DomainDef, uuid: str) -> str | None:
    """One that is asked for and not said is the domain's own."""
    return str(uuids.uuid5(uuids.UUID(uuid), "genid")) if definition.genid == "" else definition.genid


def _told_uuid(definition: DomainDef) -> str | None:
    """A domain without a UUID has that of its ``<sysinfo>`` (virDomainDefParseXML)."""
    told = next((text for one in definition.sysinfo if (text := one.value("system", "uuid"))), None)
    return sysinfo.plain_uuid(told) if told else None


def _cputune(told: CpuTune | None, count: int) -> CpuTune | None:
    """Pins by the processor's number, of those that there can be."""
    if told is None:
        return None
    pins = sorted((pin for pin in told.vcpu_pins if pin.vcpu < count), key=lambda pin: pin.vcpu)
    kept = replace(
        told,
        vcpu_pins=tuple(pins),
        io_pins=tuple(sorted(told.io_pins, key=lambda pin: pin.iothread)),
        vcpu_schedules=tuple(
            replace(one, vcpus=frozenset({number}))
            for number, one in sorted(
                ((n, one) for one in told.vcpu_schedules for n in one.vcpus), key=lambda pair: pair[0]
            )
        ),
        iothread_schedules=tuple(
            replace(one, iothreads=frozenset({number}))
            for number, one in sorted(
                ((n, one) for one in told.iothread_schedules for n in one.iothreads), key=lambda pair: pair[0]
            )
        ),
    )
    return None if kept == CpuTune() else kept


def _os(definition: DomainDef, host: HostFacts) -> Os:
    os = definition.os
    arch = os.type.arch or "x86_64"
    if host.arch == "i686" and arch != host.arch:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: Emulator '{host.emulator}' does not support arch '{arch}'"
        )
    asked = os.type.machine or host.default_machine
    machine = host.machines.get(asked, asked)
    if (host.machines and asked not in host.machines) or not machine.startswith(MACHINE_FAMILIES):
        raise errors.ConfigUnsupported(
            f"unsupported configuration: Emulator '{host.emulator}' does not support machine type '{asked}'"
        )
    if os.kernel is None and (os.initrd is not None or os.cmdline is not None):
        raise errors.XMLError("XML error: <initrd> and <cmdline> need a <kernel>")
    check_boot(definition)
    os = firmware.complete(os, definition.name, host.nvram)
    boot = os.boot
    if not _boot_orders(definition.devices) and not boot:
        boot = (Boot(dev="hd"),)
    menu = os.bootmenu
    if menu is not None and menu.enable is False:
        menu = replace(menu, timeout=None)
    return replace(os, type=replace(os.type, arch=arch, machine=machine), boot=boot, bootmenu=menu)


def check_boot(definition: DomainDef) -> None:
    """Raise ``errors.ConfigUnsupported`` where it is not clear what the guest boots from."""
    orders = _boot_orders(definition.devices)
    if orders and definition.os.boot:
        raise errors.ConfigUnsupported(
            "unsupported configuration: per-device boot elements cannot be used together with os/boot elements"
        )
    if len(set(orders)) < len(orders):
        raise errors.ConfigUnsupported("unsupported configuration: a boot order is used for more than one device")


def _boot_orders(devices: Devices) -> list[int]:
    orders = [disk.boot for disk in devices.disks] + [card.boot for card in devices.interfaces]
    orders += [one.boot for one in devices.redirdevs] + [one.boot for one in devices.filesystems]
    return [order for order in orders if order is not None]


def _features(features: Features | None) -> Features | None:
    """An element that stands there without a state is on."""
    if features is None:
        return None
    states: dict[str, Any] = {
        name: Toggle(state=toggle.state is not False)
        for name in ("hap", "pvspinlock", "pmu", "vmport", "vmcoreinfo")
        if (toggle := getattr(features, name)) is not None
    }
    smm = features.smm and replace(
        features.smm, state=features.smm.state is not False, tseg=features.smm.tseg and _pretty(features.smm.tseg)
    )
    hyperv = features.hyperv and replace(features.hyperv, mode=features.hyperv.mode or "custom")
    kvm = features.kvm
    if kvm is not None and kvm.dirty_ring is not None and not kvm.dirty_ring.state:
        kvm = replace(kvm, dirty_ring=replace(kvm.dirty_ring, size=None))
    return replace(features, hyperv=hyperv, smm=smm, kvm=kvm, **states)


def _pretty(tseg: Tseg) -> Tseg:
    """In the largest unit of which it is a whole number (virFormatIntPretty)."""
    size, units_ = units.to_bytes(tseg.size, tseg.unit or "MiB"), ["B", "KiB", "MiB", "GiB", "TiB"]
    while len(units_) > 1 and size and size % units.KiB == 0:
        size //= units.KiB
        units_.pop(0)
    return Tseg(unit=units_[0], size=size)


def _cpu(definition: DomainDef, count: int, usual: str) -> Cpu:
    cpu = definition.cpu or Cpu()
    topology = cpu.topology
    if topology is not None:
        if topology.count != count:
            raise errors.ConfigUnsupported(
                "unsupported configuration: CPU topology doesn't match maximum vcpu count"
                f" ({topology.count} and {count})"
            )
        cpu = replace(cpu, topology=replace(topology, dies=topology.dies or 1))
    if cpu.numa is not None:
        cpu = replace(cpu, numa=nodes.complete(cpu.numa, count))
    mode = cpu.mode or "custom"
    kvm = definition.type == "kvm"
    if mode == "custom":
        named = cpu.model is not None and cpu.model.name is not None
        if not named and (cpu.features or cpu.vendor is not None):
            raise errors.XMLError("XML error: /domain/cpu names features or a vendor, and no model")
        check = "partial" if kvm and named else "none"
        model = (
            CpuModel(fallback="forbid", name=usual)
            if cpu.model is None or not named
            else replace(cpu.model, fallback=cpu.model.fallback or "allow")
        )
        # Without a model there is nothing that could be insisted on.
        check = (cpu.check or check) if named else "none"
        return replace(cpu, mode=mode, match=cpu.match or "exact", check=check, model=model)
    if cpu.model is not None and cpu.model.name is not None:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: /domain/cpu/model does not go with CPU mode '{mode}'"
        )
    if cpu.model is not None and cpu.model.vendor_id is None:
        cpu = replace(cpu, model=None)
    if mode == "host-passthrough":
        # Such a clock binds it to its host (qemuDomainDefCPUPostParse).
        bound = any(one.name == "invtsc" and one.policy in ("require", "force") for one in cpu.features)
        moves = cpu.migratable if cpu.migratable is not None else not bound
        return replace(cpu, mode=mode, check=cpu.check or "none", migratable=moves)
    check = "partial" if mode == "host-model" else "none"
    return replace(cpu, mode=mode, check=cpu.check or check)
