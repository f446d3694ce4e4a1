"""What ``complete`` has to know of the host, as plain data: this package never looks for itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """``arch``: of the emulator.
    ``machines``: the machine types QEMU knows, each alias (``pc``) with the name it stands for, each name with
    itself (from ``query-machines``). ``uuid`` and ``mac_seed`` feed what is made up for a new domain: the caller
    draws them at random, so that this package stays without chance.
    """

    emulator: str = "/usr/bin/qemu-system-x86_64"
    arch: str = "x86_64"
    machines: Mapping[str, str] = field(default_factory=dict)
    default_machine: str = "pc"
    domain_types: frozenset[str] = frozenset({"qemu", "kvm"})
    uuid: str = ""
    mac_seed: int = 0
    vnc_listen: str = "127.0.0.1"
    spice_tls: bool = False
    """SPICE servers have certificates."""
    itco: bool = False
    """The watchdog of a q35 machine bites unless told not to, and so is among the devices (libvirt 9.1 and later)."""
    nvram: str = "/var/lib/libvirt/qemu/nvram"
    """The folder for the variables of firmware that nobody has named a place for."""
