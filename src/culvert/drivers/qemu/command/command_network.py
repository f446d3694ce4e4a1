"""``-netdev`` and ``-device`` of network cards.

The kind of netdev is part of the migrated state (``user`` has a section of its own in the stream), and so is the
card's boot ROM. Source: qemu/qemu_command.c of libvirt 9.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from culvert.domain.definition import DomainDef
from culvert.domain.interface import Interface, Rom
from culvert.drivers.qemu.command.command_syntax import device, option, pci
from culvert.ground import errors

DRIVERS = {"virtio": "virtio-net-pci", "e1000": "e1000", "e1000e": "e1000e", "rtl8139": "rtl8139"}


def interfaces(
    definition: DomainDef,
    boot_order: dict[str, int],
    tap_fds: Mapping[int, int],
    vhost_fds: Mapping[int, int],
) -> list[str]:
    """All cards in order. ``tap_fds``: position of the card → descriptor of its tap; ``vhost_fds`` likewise."""
    argv: list[str] = []
    for number, interface in enumerate(definition.devices.interfaces):
        argv += netdev(interface, tap_fds.get(number), vhost_fds.get(number))
        argv += card(definition, interface, boot_order.get(interface.alias or ""))
    return argv


def netdev_name(interface: Interface) -> str:
    """QEMU's name of what is behind the card."""
    return f"host{interface.alias}"


def card(definition: DomainDef, interface: Interface, bootindex: int | None) -> list[str]:
    """The card itself, which has its name and its place in ``definition``."""
    rom, virtio = interface.rom or Rom(), interface.model == "virtio"
    properties: dict[str, Any] = {
        "driver": DRIVERS[interface.model or "rtl8139"],
        "netdev": netdev_name(interface),
        "host_mtu": interface.mtu if virtio else None,
        "id": interface.alias,
        "mac": interface.mac,
        "bootindex": bootindex,
        **pci(definition, interface.address, f"interface '{interface.alias}'"),
        "rombar": None if rom.bar is None else int(rom.bar),
        "romfile": "" if rom.enabled is False else rom.file,
    }
    return device(properties)


def netdev(interface: Interface, tap_fd: int | str | None, vhost_fd: int | None = None) -> list[str]:
    """What is behind the card; ``tap_fd``: a number the process inherits, or a name the monitor knows."""
    name = netdev_name(interface)
    if interface.type == "user":
        return option("-netdev", {"type": "user", "id": name})
    if tap_fd is None:
        raise errors.InternalError(f"internal error: interface '{interface.alias}' has no tap device")
    return option(
        "-netdev",
        {
            "type": "tap",
            "fd": str(tap_fd),
            "vhost": None if vhost_fd is None else True,
            "vhostfd": None if vhost_fd is None else str(vhost_fd),
            "id": name,
        },
    )
