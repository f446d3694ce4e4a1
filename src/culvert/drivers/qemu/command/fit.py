"""Whether an emulator has what a definition asks for: looked at before anything is started. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from culvert.domain import aliases, chardev
from culvert.domain.definition import DomainDef
from culvert.domain.devices import Devices
from culvert.drivers.qemu.abilities.ability import Ability
from culvert.drivers.qemu.abilities.machines import Machines
from culvert.drivers.qemu.command import command_chardev, command_device, command_disk, command_network, command_tpm
from culvert.ground import errors

# Names that QEMU takes for a type of device and does not list (system/qdev-monitor.c, qdev_alias_table).
_ALSO = {"ahci": "ich9-ahci", "lsi": "lsi53c895a"}


def check(definition: DomainDef, known: Machines) -> None:
    """Raise ``errors.ConfigUnsupported`` naming the element of the complete ``definition`` that asks for a machine
    type, a type of device or a screen which the emulator does not have."""
    emulator, devices = definition.devices.emulator, known.abilities.devices
    if known.machines and definition.machine not in {machine.name for machine in known.machines}:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: Emulator '{emulator}' does not support machine type '{definition.machine}'"
        )
    if not devices:
        return  # not known
    if Ability.SPICE not in known.abilities and (element := _spice(definition.devices)):
        raise errors.ConfigUnsupported(
            f"unsupported configuration: {element}: spice graphics are not supported with this QEMU"
            f" (emulator '{emulator}'; in Debian 13 its package qemu-system-modules-spice has them)"
        )
    named = aliases.assign(definition)
    for alias, driver in _drivers(named):
        if _ALSO.get(driver, driver) not in devices:
            raise errors.ConfigUnsupported(
                f"unsupported configuration: {_refusal(named.devices, alias, driver)} (emulator '{emulator}')"
            )


def _spice(devices: Devices) -> str | None:
    """The first element that is of SPICE."""
    for kind, are in (
        ("graphics", [one.is_spice for one in devices.graphics]),
        ("channel", [one.type in chardev.SPICE for one in devices.channels]),
        ("redirdev", [one.type in chardev.SPICE for one in devices.redirdevs]),
        ("audio", [one.type == "spice" for one in devices.audios]),
    ):
        if True in are:
            return f"/domain/devices/{kind}[{are.index(True) + 1}]"
    return None


def _drivers(definition: DomainDef) -> Iterator[tuple[str, str]]:
    """(alias, type of device in QEMU's words) of all devices, in the order of the command line."""
    argv = [
        *command_device.controllers(definition),
        *command_device.hubs(definition),
        *command_device.controllers(definition, command_device.AFTER_HUBS),
        *(word for disk in definition.devices.disks for word in command_disk.drive(definition, disk)),
        *(word for card in definition.devices.interfaces for word in command_network.card(definition, card, None)),
        *command_chardev.chardevs(definition, incoming=False, channel_directory="/"),
        *command_tpm.tpms(definition, "/"),
        *command_device.inputs(definition),
        *command_device.videos(definition),
        *command_device.watchdogs(definition),
        *command_device.memballoon(definition),
        *command_device.rngs(definition),
        *command_device.filesystems(definition),
        *command_device.panics(definition),
        *command_device.shmems(definition),
        *command_device.vsock(definition, None),
        *command_device.iommus(definition),
    ]
    for flag, value in zip(argv[::2], argv[1::2], strict=True):
        if flag == "-device":
            told = json.loads(value)
            # A companion of an USB controller has its master's name, and no id.
            yield told.get("id", told.get("masterbus", "").removesuffix(".0")), told["driver"]


def _refusal(devices: Devices, alias: str, driver: str) -> str:
    """libvirt's words (qemu/qemu_validate.c), and the element by its place."""
    for kind in aliases.ALIASED:
        for place, one in enumerate(getattr(devices, kind), start=1):
            if one.alias == alias:
                if kind == "videos":
                    return f"domain configuration does not support video model '{one.model.type}'"
                element = f"/domain/devices/{kind.removesuffix('s')}[{place}]"
                return f"{element}: The '{driver}' device is not supported by this QEMU binary"
    return f"/domain/devices/memballoon: The '{driver}' device is not supported by this QEMU binary"
