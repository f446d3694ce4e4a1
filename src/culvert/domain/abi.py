"""May a guest move from one definition to another? What it can see of its machine must be the same.

Both definitions are compared along the binding tables, except for the paths in ``FREE``: names of files and devices
of the host, backends, what is said to the daemon and not to the guest. Both must be complete.

Source: conf/domain_conf.c, virDomainDefCheckABIStabilityFlags. Stricter than libvirt in one point: a card on the
``user`` backend has state of its own in the stream, so it cannot become one on a tap, nor the other way round. More
lenient in two others: the balloon's size travels in the stream, whatever ``currentMemory`` says; and the watchdog in
the chip of a q35 machine (itco) is there whether it is written or not: a guest that was begun before it was written
(by libvirt 9.0, with QEMU 7.2) is the same machine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from culvert.domain import binding, firmware, memory, vcpus
from culvert.domain.cpu import VcpuStates
from culvert.domain.definition import DomainDef
from culvert.domain.display import virtio_device
from culvert.domain.interface import Interface
from culvert.domain.loader import Loader
from culvert.domain.passthrough import SPACE
from culvert.ground import errors

FREE = frozenset(
    {
        *("/domain/@id", "/domain/name", "/domain/title", "/domain/description", "/domain/metadata"),
        *("/domain/currentMemory", "/domain/memoryBacking", "/domain/resource", "/domain/seclabel"),
        *("/domain/iothreads", "/domain/iothreadids", "/domain/defaultiothread"),
        *("/domain/vcpu/@cpuset", "/domain/cputune", "/domain/numatune"),
        *("/domain/on_poweroff", "/domain/on_reboot", "/domain/on_crash"),
        *("/domain/os/kernel", "/domain/os/initrd", "/domain/os/cmdline", "/domain/os/boot", "/domain/os/bootmenu"),
        *("/domain/os/@firmware", "/domain/os/firmware", "/domain/os/nvram", "/domain/os/bios", "/domain/os/acpi"),
        "/domain/cpu/topology/@clusters",
        *("/domain/cpu/@check", "/domain/cpu/@match", "/domain/cpu/model/@fallback"),
        "/domain/clock/@offset",
        *("/domain/blkiotune", "/domain/memtune", "/domain/idmap", "/domain/perf", "/domain/on_lockfailure"),
        *("/domain/os/bios", "/domain/clock/@adjustment", "/domain/clock/@basis", "/domain/clock/@start"),
        "/domain/clock/@timezone",
        *(f"/domain/{SPACE}{name}" for name in ("commandline", "capabilities", "deprecation")),
        "/domain/devices/emulator",
        *("/domain/devices/disk/@type", "/domain/devices/disk/source", "/domain/devices/disk/backingStore"),
        *("/domain/devices/disk/@snapshot", "/domain/devices/disk/auth", "/domain/devices/disk/encryption"),
        *("/domain/devices/disk/iotune", "/domain/devices/disk/transient"),
        "/domain/devices/disk/driver/metadata_cache",
        *(
            f"/domain/devices/disk/driver/@{name}"
            for name in ("name", "type", "cache", "error_policy", "rerror_policy", "io", "discard", "detect_zeroes")
        ),
        *(
            f"/domain/devices/{kind}/driver/@{name}"
            for kind in ("disk", "controller")
            for name in ("copy_on_read", "iothread", "ioeventfd")
        ),
        *("/domain/devices/disk/target/@tray", "/domain/devices/disk/shareable", "/domain/devices/disk/boot"),
        *("/domain/devices/interface/@type", "/domain/devices/interface/source", "/domain/devices/interface/target"),
        *("/domain/devices/interface/driver/@name", "/domain/devices/interface/driver/@txmode"),
        *("/domain/devices/interface/driver/@ioeventfd", "/domain/devices/interface/backend"),
        *("/domain/devices/interface/link", "/domain/devices/interface/boot"),
        *("/domain/devices/interface/bandwidth", "/domain/devices/interface/port", "/domain/devices/interface/vlan"),
        *("/domain/devices/interface/virtualport", "/domain/devices/interface/filterref"),
        *("/domain/devices/interface/ip", "/domain/devices/interface/portForward"),
        *(
            f"/domain/devices/{kind}/{name}"
            for kind in ("serial", "parallel", "console", "channel", "redirdev", "smartcard")
            for name in ("@type", "@tty", "source", "protocol", "log", "boot")
        ),
        *("/domain/devices/channel/target/@state", "/domain/devices/console/target/@port"),
        *("/domain/devices/graphics", "/domain/devices/audio", "/domain/devices/sound/audio"),
        *("/domain/devices/vsock/cid", "/domain/devices/watchdog/@action", "/domain/devices/memballoon/stats"),
        "/domain/memory/@dumpCore",
        *(f"/domain/devices/filesystem/{name}" for name in ("source", "binary", "boot", "driver/@wrpolicy")),
        *("/domain/devices/input/source", "/domain/devices/shmem/server", "/domain/devices/video/driver/@name"),
        *("/domain/devices/controller/target/hotplug", "/domain/devices/video/model/acceleration"),
        *(f"/domain/cpu/numa/cell/{name}" for name in ("@memAccess", "@discard")),
        *(f"/domain/devices/memory/{name}" for name in ("@access", "@discard", "source", "address/@base")),
        *("/domain/devices/memory/target/requested", "/domain/devices/memory/target/current"),
        *(f"/domain/devices/tpm/backend/{name}" for name in ("@persistent_state", "encryption", "active_pcr_banks")),
        "/domain/devices/redirdev/boot",
        *("/domain/devices/rng/rate", "/domain/devices/rng/backend"),
    }
)


def check(source: DomainDef, destination: DomainDef, *, name: str | None = None) -> None:
    """Raise unless a guest started as ``source`` can go on as ``destination``.

    ``name``: what the domain is to be called on the other side; without it the names must be equal.

    Raises ``errors.ConfigUnsupported`` with the path of the first difference and both values.
    """
    if destination.name not in (source.name, name):
        raise errors.ConfigUnsupported(
            f"unsupported configuration: Target domain name '{destination.name}' does not match source"
            f" '{source.name}'"
        )
    _compare(_ordered(source), _ordered(destination), "/domain")
    cards = zip(source.devices.interfaces, destination.devices.interfaces, strict=True)
    for place, (ours, theirs) in enumerate(cards):
        if _has_state(ours) != _has_state(theirs):
            raise _differs(f"/domain/devices/interface[{place + 1}]/@type", ours.type, theirs.type)


def _has_state(card: Interface) -> bool:
    """What is behind it is QEMU's own network."""
    return card.type == "user" and not card.is_passt


def _ordered(definition: DomainDef) -> DomainDef:
    """Devices that libvirt sorts or adds by itself in an order of their own, so that only content is compared, and
    the memory that QEMU is given; each processor by itself, but for when it came.
    """
    devices = definition.devices
    return replace(
        definition,
        memory=memory.ram(definition),
        os=replace(definition.os, loader=_flash(definition)),
        vcpu_states=VcpuStates(states=tuple(replace(one, order=None) for one in vcpus.states(definition))),
        devices=replace(
            devices,
            disks=tuple(sorted(devices.disks, key=lambda disk: disk.target.dev)),
            controllers=tuple(
                sorted(devices.controllers, key=lambda one: (one.type, one.index or 0, one.model or ""))
            ),
            inputs=tuple(sorted(devices.inputs, key=lambda one: (one.bus or "", one.type))),
            videos=tuple(
                replace(one, model=replace(one.model, device=virtio_device(one.model, primary=place == 0)))
                for place, one in enumerate(devices.videos)
            ),
            watchdogs=tuple(one for one in devices.watchdogs if one.model != "itco"),
        ),
    )


def _flash(definition: DomainDef) -> Loader | None:
    """Where the firmware is; the image is the host's, and what is in its flash travels in the stream."""
    kind = firmware.kind(definition.os)
    return Loader(type=kind) if kind else None


def _differs(path: str, ours: object, theirs: object) -> errors.ConfigUnsupported:
    def shown(value: object) -> str:
        return "nothing" if value is None else f"'{value}'"

    return errors.ConfigUnsupported(
        f"unsupported configuration: Target {path} {shown(theirs)} does not match source {shown(ours)}"
    )


def _compare(ours: Any, theirs: Any, path: str, shown: str | None = None) -> None:
    """Compare two values of one bound class; ``path`` without positions, ``shown`` with them."""
    shown = shown or path
    for row in binding.table(type(ours)):
        bound = row.binding
        tail = _tail(bound)
        if bound.name == "alias" or path + tail in FREE:
            continue
        a, b = getattr(ours, row.field), getattr(theirs, row.field)
        if bound.kind == "children":
            if len(a) != len(b):
                raise _differs(f"{shown}{tail} count", len(a), len(b))
            for place, (one, other) in enumerate(zip(a, b, strict=True), start=1):
                _compare(one, other, path + tail, f"{shown}{tail}[{place}]")
        elif bound.kind == "child" and (a is not None or b is not None):
            cls = bound.classes()[""]
            _compare_optional(cls, a, b, path + tail, shown + tail)
        elif bound.kind == "variant" and type(a) is type(b) and a is not None:
            _compare(a, b, path + tail, shown + tail)
        elif a != b:
            raise _differs(f"{shown}{tail}", _said(a, bound), _said(b, bound))


def _compare_optional(cls: type[Any], ours: Any, theirs: Any, path: str, shown: str) -> None:
    """One side may lack an element of which all that is said is free; else its being there counts."""
    if ours is not None and theirs is not None:
        _compare(ours, theirs, path, shown)
        return
    there = ours if ours is not None else theirs
    tails = {row.field: _tail(row.binding) for row in binding.table(cls)}
    bound = [field for field, tail in tails.items() if path + tail not in FREE]
    if len(bound) == len(tails) or any(getattr(there, field) not in (None, False, ()) for field in bound):
        raise _differs(shown, None if ours is None else "there", None if theirs is None else "there")


def _tail(bound: binding.Binding) -> str:
    if bound.kind == "beside":
        return f"/{bound.name}/@{bound.inner}"
    at = "@" if bound.kind in ("attribute", "sized") else ""
    return f"/{at}{bound.name}" if bound.name else ""


def _said(value: Any, bound: binding.Binding) -> object:
    if value is None or bound.kind in ("variant", "flag"):
        return value if value is None or bound.kind == "flag" else str(value)
    return bound.scalar.write(value)
