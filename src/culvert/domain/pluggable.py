"""Devices beside disks and cards that come and go while a guest runs: by their element, how each is completed.

Source: qemu/qemu_hotplug.c of libvirt 9.0 (qemuDomainAttachDeviceLive) for which they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from culvert.domain import (
    addresses,
    aliases,
    binding,
    bus_device,
    defaults_devices,
    memory_device,
    ports,
    validate,
    xml,
)
from culvert.domain.bus_device import Shmem
from culvert.domain.chardev import ChannelDevice, Redirdev
from culvert.domain.definition import DomainDef
from culvert.domain.display import Input
from culvert.domain.memory_device import MemoryModule
from culvert.domain.peripheral import Rng, Watchdog
from culvert.ground import errors


@dataclass(frozen=True, slots=True)
class PluggableKind:
    """``field``: of ``Devices``; ``complete``: with libvirt's defaults, its place apart."""

    cls: type[Any]
    field: str
    complete: Callable[[Any], Any] = lambda one: one


KINDS: dict[str, PluggableKind] = {
    "memory": PluggableKind(MemoryModule, "memories", memory_device.aligned),
    "rng": PluggableKind(Rng, "rngs", defaults_devices.complete_rng),
    "input": PluggableKind(Input, "inputs", defaults_devices.complete_input),
    "channel": PluggableKind(ChannelDevice, "channels", defaults_devices.complete_line),
    "redirdev": PluggableKind(Redirdev, "redirdevs", defaults_devices.complete_line),
    "watchdog": PluggableKind(Watchdog, "watchdogs", lambda one: replace(one, action=one.action or "reset")),
    "shmem": PluggableKind(Shmem, "shmems", bus_device.complete_shmem),
}
"""By the element."""

FIELDS = tuple(kind.field for kind in KINDS.values())


def kind_of(text: str) -> PluggableKind | None:
    """Of a device that somebody sends; ``None`` for another one. Raises ``errors.XMLError`` for what is no XML."""
    return KINDS.get(str(xml.read(text).tag))


def read(kind: PluggableKind, text: str) -> Any:
    """The device, completed. Raises as ``domain.parse.parse``."""
    root = xml.read(text)
    return kind.complete(binding.read(kind.cls, root, f"/{root.tag}"))


def held(definition: DomainDef, kind: PluggableKind) -> tuple[Any, ...]:
    """Those of its kind."""
    found: tuple[Any, ...] = getattr(definition.devices, kind.field)
    return found


def added(definition: DomainDef, kind: PluggableKind, device: Any) -> DomainDef:
    """``definition`` with ``device``, and with its memory where it brings some."""
    return _with(definition, kind, (*held(definition, kind), device), _brings(device))


def removed(definition: DomainDef, kind: PluggableKind, device: Any) -> DomainDef:
    """The same without it."""
    rest = tuple(one for one in held(definition, kind) if one is not device)
    return _with(definition, kind, rest, -_brings(device))


def is_part_of_the_machine(device: Any) -> bool:
    """QEMU has no device of this name: it cannot have left."""
    if isinstance(device, Input):
        return device.bus == "ps2" or device.type == "evdev"
    if isinstance(device, ChannelDevice):
        return device.target.type == "guestfwd"
    return isinstance(device, Watchdog) and device.model == "itco"


def _brings(device: Any) -> int:
    return device.target.size if isinstance(device, MemoryModule) else 0


def _with(definition: DomainDef, kind: PluggableKind, devices: tuple[Any, ...], kib: int) -> DomainDef:
    changed = replace(definition.devices, **{kind.field: devices})  # type: ignore[arg-type]  # of the field's own type
    size = definition.memory + kib
    now = (definition.current_memory or definition.memory) + kib
    return replace(definition, memory=size, current_memory=min(max(now, 0), size), devices=changed)


def grown(definition: DomainDef, kind: PluggableKind, device: Any) -> tuple[DomainDef, Any]:
    """The running ``definition`` with the completed ``device`` in a place that is free, and that device; pure.

    Raises ``errors.ConfigUnsupported`` or ``errors.XMLError`` where there is none, ``errors.OperationFailed`` for an
    alias that is taken.
    """
    if isinstance(device, Input) and device.bus not in ("usb", "virtio"):
        raise errors.ConfigUnsupported(
            f"unsupported configuration: input device on bus '{device.bus}' cannot be hot plugged."
        )
    if isinstance(device, Watchdog) and definition.devices.watchdogs and device.model != "i6300esb":
        raise errors.ConfigUnsupported("unsupported configuration: hotplug of this watchdog is not supported")
    place = len(held(definition, kind))
    wanted = added(definition, kind, device)
    if kind.field == "memories":
        most = definition.max_memory
        modules = memory_device.place(wanted.devices.memories, (most.slots or 0) if most else 0)
        wanted = replace(wanted, devices=replace(wanted.devices, memories=modules))
        if most is not None and wanted.memory > (most.size or 0):
            raise errors.OperationFailed("attaching memory device would exceed the domain's maxMemory")
    before = {one.alias for one in held(definition, kind)}
    validate.check_grown(definition, wanted)
    wanted = replace(wanted, devices=ports.assign(wanted.devices))
    if len(wanted.devices.controllers) > len(definition.devices.controllers) or (
        len(wanted.devices.hubs) > len(definition.devices.hubs)
    ):
        raise errors.ConfigUnsupported("unsupported configuration: no place is free on its controllers")
    named = aliases.assign(addresses.plug(wanted))
    new = held(named, kind)[place]
    if new.alias in before:
        raise errors.OperationFailed(f"domain '{definition.name}' has a device with alias '{new.alias}' already")
    return named, new


def find(definition: DomainDef, kind: PluggableKind, wanted: Any) -> Any:
    """The device that is meant: by its alias, or by all that is said of it. Raises ``errors.DeviceMissing``."""
    there = held(definition, kind)
    if wanted.alias is not None:
        found = [one for one in there if one.alias == wanted.alias]
    else:
        found = [one for one in there if _fits(one, wanted)]
    if not found:
        raise errors.DeviceMissing("device not found: matching device was not found in the domain configuration")
    return found[0]


def _fits(one: Any, wanted: Any) -> bool:
    """All that ``wanted`` says is so of ``one``; what it does not say may be anything."""
    if wanted is None or wanted == one:
        return True
    if not is_dataclass(wanted) or type(wanted) is not type(one):
        return False
    return all(_fits(getattr(one, entry.name), getattr(wanted, entry.name)) for entry in fields(wanted))
