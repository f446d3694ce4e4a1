"""Names of devices in a running domain: given at start, left out of every definition that is not running.

QEMU knows each device by its alias (``-device …,id=``); libvirt's scheme (qemu/qemu_alias.c) is kept so that monitor
commands written for libvirt's guests work. A user's own alias starts with ``ua-``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from culvert.domain.address import DimmAddress, DriveAddress
from culvert.domain.chardev import ChannelDevice, ConsoleDevice, Parallel, Serial
from culvert.domain.controller import Controller
from culvert.domain.definition import DomainDef
from culvert.domain.devices import Devices
from culvert.domain.disk import Disk, defined, numbered
from culvert.domain.memory_device import MemoryModule

USER_PREFIX = "ua-"
_USERS = re.compile(r"ua-[A-Za-z0-9_-]*")  # conf/domain_conf.c, USER_ALIAS_CHARS

# Kinds whose aliases are a word and a number in order.
NUMBERED = {
    "interfaces": "net",
    "filesystems": "fs",
    "smartcards": "smartcard",
    "serials": "serial",
    "parallels": "parallel",
    "channels": "channel",
    "inputs": "input",
    "sounds": "sound",
    "videos": "video",
    "redirdevs": "redir",
    "hubs": "hub",
    "watchdogs": "watchdog",
    "rngs": "rng",
    "shmems": "shmem",
    "panics": "panic",
    "tpms": "tpm",
}
SINGLE = ("iommu", "vsock")
ALIASED = (*NUMBERED, "disks", "controllers", "consoles", "memories")

C = TypeVar("C", Serial, Parallel, ConsoleDevice, ChannelDevice)


def assign(definition: DomainDef) -> DomainDef:
    """``definition`` with an alias for every device that has none, and a number for every disk source.

    The definition must be complete: disk addresses and controller indexes are part of the names.
    """
    devices = definition.devices
    changes: dict[str, object] = {
        kind: tuple(
            one if one.alias else replace(one, alias=f"{word}{number}")
            for number, one in enumerate(getattr(devices, kind))
        )
        for kind, word in NUMBERED.items()
    }
    changes["controllers"] = tuple(
        one if one.alias else replace(one, alias=_controller(one, definition)) for one in devices.controllers
    )
    changes["memories"] = _modules(devices.memories)
    disks = tuple(one if one.alias else replace(one, alias=of_disk(one, devices)) for one in devices.disks)
    changes["disks"] = _numbered_sources(disks)
    named = replace(devices, **changes)  # type: ignore[arg-type]  # one value of the field's own type per field name
    consoles = tuple(_console(one, number, named.serials) for number, one in enumerate(devices.consoles))
    balloon = devices.memballoon
    if balloon is not None and balloon.model != "none" and not balloon.alias:
        balloon = replace(balloon, alias="balloon0")
    single = {
        name: replace(one, alias=one.alias or f"{name}0")
        for name in SINGLE
        if (one := getattr(named, name)) is not None
    }
    return replace(definition, devices=replace(named, consoles=consoles, memballoon=balloon, **single))


# Model of a module → the word of its alias; behind it is its slot, or a number in order for those on PCI.
MODULES = {"dimm": "dimm", "nvdimm": "nvdimm", "virtio-pmem": "virtiopmem", "virtio-mem": "virtiomem"}


def _modules(modules: Sequence[MemoryModule]) -> tuple[MemoryModule, ...]:
    taken = {one.alias for one in modules}
    made = []
    for one in modules:
        word = MODULES[one.model]
        numbers = [one.address.slot or 0] if isinstance(one.address, DimmAddress) else range(len(modules))
        name = next(name for number in numbers if (name := f"{word}{number}") not in taken or len(numbers) == 1)
        taken.add(one.alias or name)
        made.append(one if one.alias else replace(one, alias=name))
    return tuple(made)


def of_disk(disk: Disk, devices: Devices) -> str:
    """The name of a disk that has its place among ``devices``."""
    place = disk.address
    if isinstance(place, DriveAddress):
        middle = f"{place.controller}-{place.bus}-{place.unit}"
        # That of one controller has its own form (qemuAssignDeviceDiskAlias).
        if disk.bus == "scsi" and not _is_narrow(devices, place.controller):
            middle = f"{place.controller}-{place.bus}-{place.target}-{place.unit}"
        return f"{disk.bus}{middle}"
    if disk.bus == "usb":
        return f"usb-disk{disk.target.number}"
    return f"virtio-disk{disk.target.number}"


def _is_narrow(devices: Devices, index: int) -> bool:
    models = {one.index: one.model for one in devices.controllers if one.type == "scsi"}
    return models.get(index) in (None, "lsilogic")


def _numbered_sources(disks: tuple[Disk, ...]) -> tuple[Disk, ...]:
    """Number the images from the last disk to the first, each before what it stands on, counting empty drives:
    libvirt's libvirt-1-format …"""
    held: list[Disk] = []
    number = 1
    for disk in reversed(disks):
        held.append(numbered(disk, number))
        number += 1 + len(disk.layers)
    return tuple(reversed(held))


def _controller(controller: Controller, definition: DomainDef) -> str:
    index = controller.index or 0
    match controller.type:
        case "pci":
            return "pcie.0" if controller.model == "pcie-root" else f"pci.{index}"
        case "ide":
            return "ide" if index == 0 else f"ide{index}"
        case "sata":
            return "ide" if index == 0 and definition.is_q35 else f"sata{index}"
        case "usb":
            return "usb" if index == 0 else f"usb{index}"
        case other:
            return f"{other}{index}"


def _console(console: ConsoleDevice, number: int, serials: Sequence[Serial]) -> ConsoleDevice:
    if console.alias:
        return console
    if not console.is_virtio and serials:
        return replace(console, alias=serials[0].alias)
    return replace(console, alias=f"console{number}")


def strip(definition: DomainDef) -> DomainDef:
    """``definition`` without what only a running domain has; a user's own aliases stay."""
    devices = definition.devices
    changes: dict[str, object] = {
        kind: tuple(
            one if one.alias is None or _USERS.fullmatch(one.alias) else replace(one, alias=None)
            for one in getattr(devices, kind)
        )
        for kind in ALIASED
    }
    if devices.memballoon is not None and not _USERS.fullmatch(devices.memballoon.alias or ""):
        changes["memballoon"] = replace(devices.memballoon, alias=None)
    for name in SINGLE:
        one = getattr(devices, name)
        if one is not None and not _USERS.fullmatch(one.alias or ""):
            changes[name] = replace(one, alias=None)
    plain: Devices = replace(devices, **changes)  # type: ignore[arg-type]  # one value of the field's own type each
    disks = tuple(defined(disk) for disk in plain.disks)
    channels = tuple(
        replace(_own_socket(_own_path(one)), target=replace(one.target, state=None)) for one in plain.channels
    )
    consoles = tuple(replace(_own_path(one), tty=None) for one in plain.consoles)
    serials = tuple(_own_path(one) for one in plain.serials)
    parallels = tuple(_own_path(one) for one in plain.parallels)
    plain = replace(plain, disks=disks, channels=channels, consoles=consoles, serials=serials, parallels=parallels)
    memories = tuple(replace(one, target=replace(one.target, current=None)) for one in plain.memories)
    if plain.vsock is not None and plain.vsock.cid is not None and plain.vsock.cid.auto:
        plain = replace(plain, vsock=replace(plain.vsock, cid=replace(plain.vsock.cid, address=None)))
    return replace(definition, devices=replace(plain, memories=memories))


def _own_path(device: C) -> C:
    """Without the path of a pty: the kernel chooses it anew at each start."""
    if device.type == "pty" and device.source is not None:
        return replace(device, source=None)
    return device


# Where daemons make the socket of a channel for which nobody has named one: libvirt's folder for the system's guests
# or for a user's (qemu_conf.c, channelTargetDir; below /run since 10.0), and there that of one run
# (qemu_domain.c, qemuDomainChrDefDropDefaultPath).
_OF_ONE_RUN = r"/.*/(qemu/channel(/target)?|qemu/run/channel)/([^/]+/|[^/]+\.)"


def _own_socket(device: ChannelDevice) -> ChannelDevice:
    """Without the path of a socket that some daemon has made for one run of the guest."""
    path = device.source.path if device.source is not None and device.type == "unix" else None
    made = re.fullmatch(_OF_ONE_RUN + re.escape(device.target.name or ""), path or "")
    return replace(device, source=None) if made and device.target.name else device
