"""What a domain may be defined with and cannot be started with here: refused by its path, before anything starts.

Such a definition is kept as libvirt keeps it; it may be meant for another host, or changed before its first start.
"""

from __future__ import annotations

from culvert.domain.definition import DomainDef
from culvert.domain.validate import Wrong
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
        lambda one: one.os.smbios == "sysinfo" and not one.sysinfo,
        "Domain '{0.name}' sysinfo are not available",
        errors.XMLError,
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
