"""What a domain may be defined with and cannot be started with here: refused by its path, before anything starts.

Such a definition is kept as libvirt keeps it; it may be meant for another host, or changed before its first start.
"""

from __future__ import annotations

from culvert.domain.definition import DomainDef
from culvert.domain.rule import Wrong
from culvert.ground import errors


def _automatic(one: DomainDef) -> bool:
    tune = one.numatune.memory if one.numatune else None
    return bool((one.vcpu and one.vcpu.placement == "auto") or (tune and tune.placement == "auto"))


RULES: tuple[Wrong, ...] = (
    Wrong(_automatic, "/domain/vcpu/@placement: numad is not available on this host"),
    Wrong(
        lambda one: one.cputune is not None and one.cputune.quotas,
        "/domain/cputune: cgroup cpu is required for scheduler tuning",
    ),
    Wrong(
        lambda one: (
            one.cputune is not None
            and (one.cputune.emulator_schedule or one.cputune.vcpu_schedules or one.cputune.iothread_schedules)
        ),
        "/domain/cputune: a scheduler of another kind than the host's usual one is not supported by culvert",
    ),
    Wrong(
        lambda one: one.memtune is not None,
        "/domain/memtune: Memory cgroup is not available on this host",
    ),
    Wrong(
        lambda one: one.blkiotune is not None,
        "/domain/blkiotune: Block I/O tuning is not available on this host",
    ),
    Wrong(
        lambda one: one.perf is not None and any(event.enabled for event in one.perf.events),
        "/domain/perf/event is not supported by culvert",
    ),
    Wrong(
        lambda one: one.resource is not None and one.resource.partition != "/machine",
        "/domain/resource/partition: there is no resource partition '{0.resource.partition}' here",
    ),
    Wrong(
        lambda one: one.features is not None and one.features.msrs is not None,
        "/domain/features/msrs is not supported by culvert",
    ),
    Wrong(
        lambda one: one.cpu is not None and one.cpu.match == "minimum",
        "/domain/cpu/@match 'minimum' is not supported by culvert: what the host has more is not known to it",
    ),
    Wrong(
        lambda one: one.os.smbios == "sysinfo" and not one.sysinfo,
        "Domain '{0.name}' sysinfo are not available",
        errors.XMLError,
    ),
    Wrong(
        lambda one: any(each.kind != "path" for each in one.devices.filesystems),
        "/domain/devices/filesystem/driver/@type: 'virtiofs' and 'handle' are not supported by culvert",
    ),
    Wrong(
        lambda one: one.qemu_capabilities is not None or one.qemu_deprecation is not None,
        "/domain/qemu:capabilities, /domain/qemu:deprecation are not supported by culvert",
    ),
    Wrong(
        lambda one: any(each.driver is not None and each.driver.name == "vhostuser" for each in one.devices.videos),
        "/domain/devices/video/driver[@name='vhostuser']: Unable to find a satisfying vhost-user-gpu",
    ),
    Wrong(
        lambda one: any(each.action == "dump" for each in one.devices.watchdogs),
        "/domain/devices/watchdog/@action 'dump' is not supported by culvert",
    ),
    Wrong(
        lambda one: any(len(each.listens) > 1 for each in one.devices.graphics),
        "/domain/devices/graphics/listen: QEMU does not support multiple listens for one graphics device.",
    ),
    Wrong(
        lambda one: any(listen.type == "network" for each in one.devices.graphics for listen in each.listens),
        "/domain/devices/graphics/listen[@type='network'] is not supported by culvert: name the address",
    ),
    Wrong(
        lambda one: any(each.type == "dbus" and not (each.p2p or each.bus_address) for each in one.devices.graphics),
        "/domain/devices/graphics[@type='dbus'] needs an address or p2p: culvert starts no message bus",
    ),
)


def check(definition: DomainDef) -> None:
    """Raise for the first rule that the complete ``definition`` breaks."""
    for rule in RULES:
        if rule.wrong(definition):
            raise rule.refusal(f"{errors.PREFIXES[rule.refusal.code]}: {rule.says.format(definition)}")
