"""``-cpu`` and ``-smp``.

Source: qemu/qemu_command.c, qemuBuildCpuCommandLine and qemuBuildSmpCommandLine, for what libvirt 9.0 passes and in
which order; the guest's CPU is part of what must agree on both sides of a migration and QEMU does not check it.
"""

from __future__ import annotations

from collections.abc import Iterator

from culvert.domain import vcpus
from culvert.domain.cpu import Cpu
from culvert.domain.definition import DomainDef
from culvert.domain.features import Features, HyperV, Kvm
from culvert.drivers.qemu.command.command_syntax import on_off
from culvert.ground import errors

DEFAULT_MODEL = "qemu64"

# libvirt's name of a feature where it is not QEMU's with another dash (cpu_map and qemu_capabilities.c).
FEATURE_NAMES = {"pclmuldq": "pclmulqdq"}

# Features that QEMU's model has and libvirt's of that name has not (any more): libvirt switches them off unless the
# XML names them (cpu_map, <feature removed='yes'/>). QEMU would load a guest from there with them on and say nothing.
REMOVED = {
    **dict.fromkeys(("Dhyana", "EPYC", "EPYC-IBPB", "Opteron_G3"), "monitor"),
    **dict.fromkeys(("Icelake-Client", "Icelake-Client-noTSX", "Icelake-Server", "Icelake-Server-noTSX"), "intel-pt"),
}

# Field of HyperV → QEMU's property, in libvirt's order.
ENLIGHTENMENTS = {
    "relaxed": "hv-relaxed",
    "vapic": "hv-vapic",
    "spinlocks": "hv-spinlocks",
    "vpindex": "hv-vpindex",
    "runtime": "hv-runtime",
    "synic": "hv-synic",
    "stimer": "hv-stimer",
    "reset": "hv-reset",
    "vendor_id": "hv-vendor-id",
    "frequencies": "hv-frequencies",
    "reenlightenment": "hv-reenlightenment",
    "tlbflush": "hv-tlbflush",
    "ipi": "hv-ipi",
    "evmcs": "hv-evmcs",
    "avic": "hv-avic",
}


def cpu(definition: DomainDef) -> list[str]:
    """``-cpu``. Raises ``errors.InternalError`` for a ``host-model`` that was not settled (``domain.cpu``)."""
    wanted = definition.cpu or Cpu()
    parts = [*_model(definition), *_timers(definition), *_features(definition.features or Features(), definition)]
    parts += [*_cache(wanted), *_address(wanted)]
    return ["-cpu", ",".join(parts)]


def _model(definition: DomainDef) -> Iterator[str]:
    wanted = definition.cpu or Cpu(mode="custom")
    name = wanted.model.name if wanted.model else None
    match wanted.mode:
        case "host-passthrough":
            if definition.type != "kvm":
                raise errors.ConfigUnsupported(
                    "unsupported configuration: CPU mode 'host-passthrough' for x86_64 qemu domain on x86_64 host"
                    " is not supported by hypervisor"
                )
            yield "host"
            if wanted.migratable is not False:
                yield "migratable=on"
            else:
                yield "migratable=off"
        case "maximum":
            yield "max"
            if wanted.migratable is not None:
                yield f"migratable={on_off(wanted.migratable)}"
        case "host-model":
            raise errors.InternalError(
                f"internal error: the host-model CPU of domain '{definition.name}' is not settled"
            )
        case _:
            yield name or DEFAULT_MODEL
    if wanted.model and wanted.model.vendor_id:
        yield f"vendor={wanted.model.vendor_id}"
    removed = REMOVED.get(name or "") if wanted.mode in (None, "custom") else None
    if removed and removed not in {feature.name for feature in wanted.features}:
        yield f"{removed}=off"
    for feature in wanted.features:
        if feature.policy == "optional":
            continue  # what is left open; the model has it, or has it not
        name = FEATURE_NAMES.get(feature.name, feature.name.replace("_", "-"))
        yield f"{name}={on_off(feature.policy in ('require', 'force'))}"


def _cache(cpu: Cpu) -> Iterator[str]:
    if cpu.cache is None:
        return
    host, l3 = CACHES[cpu.cache.mode]
    passed = cpu.mode in ("host-passthrough", "maximum")
    match cpu.cache.mode:
        case "emulate":
            yield f"l3-cache={l3}"
            yield from (f"host-cache-info={host}",) if passed else ()
        case _:
            yield from (f"host-cache-info={host}",) if passed else ()
            yield f"l3-cache={l3}"


# mode of <cache> → host-cache-info, l3-cache.
CACHES = {"emulate": ("off", "on"), "passthrough": ("on", "off"), "disable": ("off", "off")}


def _address(cpu: Cpu) -> Iterator[str]:
    told = cpu.maxphysaddr
    if told is None:
        return
    if told.mode == "passthrough":
        yield "host-phys-bits=on"
        yield from (f"host-phys-bits-limit={told.limit}",) if told.limit else ()
    elif told.bits:
        yield f"phys-bits={told.bits}"


def _timers(definition: DomainDef) -> Iterator[str]:
    for timer in definition.clock.timers if definition.clock else ():
        if timer.name == "kvmclock" and timer.present is not None:
            yield f"kvmclock={on_off(timer.present)}"
        elif timer.name == "hypervclock" and timer.present is True:
            yield "hv-time=on"
        elif timer.name == "tsc" and timer.frequency:
            yield f"tsc-frequency={timer.frequency}"


def _features(features: Features, definition: DomainDef) -> Iterator[str]:
    if features.apic is not None and features.apic.eoi is not None:
        yield f"kvm-pv-eoi={on_off(features.apic.eoi)}"
    if features.pvspinlock is not None:
        yield f"kvm-pv-unhalt={on_off(features.pvspinlock.state is not False)}"
    if features.hyperv is not None:
        yield from _enlightenments(features.hyperv)
    if any(panic.model == "hyperv" for panic in definition.devices.panics):
        yield "hv-crash"
    if features.kvm is not None:
        yield from _kvm(features.kvm)
    if features.pmu is not None:
        yield f"pmu={on_off(features.pmu.state is not False)}"


def _kvm(kvm: Kvm) -> Iterator[str]:
    for told, word in (
        (kvm.hidden, "kvm=off"),
        (kvm.hint_dedicated, "kvm-hint-dedicated=on"),
        (kvm.poll_control, "kvm-poll-control=on"),
    ):
        if told:
            yield word
    if kvm.pv_ipi is False:
        yield "kvm-pv-ipi=off"


def _enlightenments(hyperv: HyperV) -> Iterator[str]:
    if hyperv.mode == "passthrough":
        yield "hv-passthrough=on"
    for field, name in ENLIGHTENMENTS.items():
        if field == "spinlocks":
            if hyperv.spinlocks is not None and hyperv.spinlocks.state:
                yield f"{name}=0x{hyperv.spinlocks.retries or 0xFFFF:x}"
        elif field == "vendor_id":
            if hyperv.vendor_id is not None and hyperv.vendor_id.state:
                yield f"{name}={hyperv.vendor_id.value}"
        elif field == "stimer":
            if hyperv.stimer is not None and hyperv.stimer.state:
                yield f"{name}=on"
                yield from (f"{name}-direct=on",) if hyperv.stimer.direct else ()
        elif getattr(hyperv, field):
            yield f"{name}=on"


def smp(definition: DomainDef) -> list[str]:
    """``-smp``: the processors that are not plugged in afterwards.

    Raises ``errors.ConfigUnsupported`` where the topology and the number of vcpus disagree."""
    total, now = definition.vcpus, vcpus.booted(definition)
    head = f"{now}" if now == total else f"{now},maxcpus={total}"
    topology = definition.cpu.topology if definition.cpu else None
    if topology is None:
        return ["-smp", f"{head},sockets={total},cores=1,threads=1"]
    if topology.count != total:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: CPU topology has {topology.count} processors, but there are {total} vcpus"
        )
    dies = f"dies={topology.dies or 1},"
    return ["-smp", f"{head},sockets={topology.sockets},{dies}cores={topology.cores},threads={topology.threads}"]
