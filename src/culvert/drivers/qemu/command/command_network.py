"""``-netdev`` and ``-device`` of network cards.

The kind of netdev is part of the migrated state (``user`` has a section of its own in the stream), and so is the
card's boot ROM. Source: qemu/qemu_command.c of libvirt 9.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from culvert.domain.definition import DomainDef
from culvert.domain.interface import (
    WITHOUT_DEVICE,
    GuestOffloads,
    HostOffloads,
    Interface,
    InterfaceDriver,
    InterfaceSource,
    Rom,
)
from culvert.drivers.qemu.command.command_syntax import device, option, pci
from culvert.ground import errors

DRIVERS = {
    "virtio": "virtio-net-pci",
    "virtio-transitional": "virtio-net-pci-transitional",
    "virtio-non-transitional": "virtio-net-pci-non-transitional",
}
"""Of the others QEMU's name is libvirt's."""


Descriptors = int | str | Sequence[int | str]
"""One, or one for each queue: numbers that the process inherits, or names that the monitor knows."""


def interfaces(
    definition: DomainDef,
    boot_order: dict[str, int],
    tap_fds: Mapping[int, Descriptors],
    vhost_fds: Mapping[int, Descriptors],
) -> list[str]:
    """All cards in order. ``tap_fds``: position of the card → descriptors of its tap; ``vhost_fds`` likewise."""
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
    rom, virtio, model = interface.rom or Rom(), interface.is_virtio, interface.model or "rtl8139"
    properties: dict[str, Any] = {
        "driver": DRIVERS.get(model, model),
        **(_virtio(interface) if virtio else {}),
        "host_mtu": interface.mtu if virtio else None,
        "netdev": netdev_name(interface),
        "id": interface.alias,
        "mac": interface.mac,
        "bootindex": bootindex,
        **pci(definition, interface.address, f"interface '{interface.alias}'"),
        "acpi-index": interface.acpi_index,
        "rombar": None if rom.bar is None else int(rom.bar),
        "romfile": "" if rom.enabled is False else rom.file,
    }
    return device(properties)


TX = {"iothread": "bh", "timer": "timer"}


def _virtio(interface: Interface) -> dict[str, Any]:
    """What is said of a virtio card alone (qemuBuildNicDevProps)."""
    driver = interface.driver or InterfaceDriver()
    host, guest = driver.host or HostOffloads(), driver.guest or GuestOffloads()
    several = interface.queues > 1
    return {
        "iommu_platform": driver.iommu,
        "ats": driver.ats,
        "packed": driver.packed,
        "page-per-vq": driver.page_per_vq,
        "tx": TX.get(driver.txmode or ""),
        "ioeventfd": driver.ioeventfd,
        "event_idx": driver.event_idx,
        "csum": host.csum,
        "gso": host.gso,
        **{f"host_{name}": getattr(host, name) for name in ("tso4", "tso6", "ecn", "ufo")},
        "mrg_rxbuf": host.mrg_rxbuf,
        **{f"guest_{name}": getattr(guest, name) for name in ("csum", "tso4", "tso6", "ecn", "ufo")},
        "mq": True if several else None,
        # A vector for each way of each queue, one for the settings and one for control.
        "vectors": 2 * interface.queues + 2 if several else None,
        "rx_queue_size": driver.rx_queue_size,
        "tx_queue_size": driver.tx_queue_size,
        "rss": driver.rss,
        "hash": driver.rss_hash_report,
    }


def _socket(interface: Interface) -> dict[str, Any]:
    """Another QEMU at the other end."""
    source = interface.source or InterfaceSource()
    there, local = f"{source.address or ''}:{source.port}", source.local
    if interface.type == "udp" and local is not None:
        return {"type": "socket", "udp": there, "localaddr": f"{local.address}:{local.port}"}
    return {"type": "socket", {"server": "listen", "client": "connect"}.get(interface.type, "mcast"): there}


def _user(interface: Interface) -> dict[str, Any]:
    """QEMU's own network, and the addresses in it."""
    told: dict[str, Any] = {"type": "user"}
    for ip in interface.ips:
        if ip.family == "ipv4":
            told["net"] = ip.address + (f"/{ip.prefix}" if ip.prefix is not None else "")
        else:
            told["ipv6-prefix"], told["ipv6-prefixlen"] = ip.address, ip.prefix
    return told


def netdev(interface: Interface, tap_fds: Descriptors | None, vhost_fds: Descriptors | None = None) -> list[str]:
    """What is behind the card."""
    name = netdev_name(interface)
    taps, vhosts = _listed(tap_fds), _listed(vhost_fds)
    if interface.is_passt and taps:
        address = {"type": "fd", "str": taps[0]}
        return option("-netdev", {"type": "stream", "addr": address, "server": False, "id": name})
    if interface.type == "user":
        return option("-netdev", {**_user(interface), "id": name})
    if interface.type in WITHOUT_DEVICE:
        return option("-netdev", {**_socket(interface), "id": name})
    if not taps:
        raise errors.InternalError(f"internal error: interface '{interface.alias}' has no tap device")
    return option(
        "-netdev",
        {
            "type": "tap",
            ("fds" if len(taps) > 1 else "fd"): ":".join(taps),
            "vhost": True if vhosts else None,
            ("vhostfds" if len(vhosts) > 1 else "vhostfd"): ":".join(vhosts) or None,
            "id": name,
        },
    )


def _listed(fds: Descriptors | None) -> list[str]:
    if fds is None:
        return []
    return [str(fds)] if isinstance(fds, int | str) else [str(fd) for fd in fds]
