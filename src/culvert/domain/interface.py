"""``<interface>``: user, bridge and ethernet (tap) network cards.

Source: docs/formatdomain, "Network interfaces".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain import address
from culvert.domain.binding import ANY, BLANK, attribute, child, lone, variant
from culvert.domain.scalars import ANY_TEXT, MAC, ON_OFF, YES_NO, Integer, Pattern, one_of

DEVICE_NAME = Pattern(r"[^\s/:%]{1,15}%?d?", "network device name")  # IFNAMSIZ; "vnet%d" asks for a free number


MODELS = one_of("virtio", "e1000", "e1000e", "rtl8139")


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceTarget:
    """The tap device on the host. ``managed`` False: it exists, nobody creates or removes it."""

    dev: Annotated[str | None, attribute("dev", DEVICE_NAME, silent=BLANK)] = None
    managed: Annotated[bool | None, attribute("managed", YES_NO)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceDriver:
    """Who moves the packets: QEMU itself."""

    name: Annotated[str | None, attribute("name", one_of("qemu"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rom:
    """The card's boot ROM, which is part of the migrated state. ``file`` empty or ``enabled`` False: none."""

    enabled: Annotated[bool | None, attribute("enabled", YES_NO)] = None
    bar: Annotated[bool | None, attribute("bar", ON_OFF)] = None
    file: Annotated[str | None, attribute("file", ANY_TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network card and where its packets go."""

    type: Annotated[str, attribute("type", one_of("user", "bridge", "ethernet"))] = "user"
    mac: Annotated[str | None, lone("mac", "address", MAC)] = None
    bridge: Annotated[str | None, lone("source", "bridge", DEVICE_NAME, silent=BLANK)] = None
    target: Annotated[InterfaceTarget | None, child("target", InterfaceTarget, hollow=ANY)] = None
    model: Annotated[str | None, lone("model", "type", MODELS, silent=BLANK)] = None
    driver: Annotated[InterfaceDriver | None, child("driver", InterfaceDriver, hollow=ANY)] = None
    mtu: Annotated[int | None, lone("mtu", "size", Integer(low=68, high=65535), silent=("", "0"))] = None
    link: Annotated[str | None, lone("link", "state", one_of("up"))] = None
    boot: Annotated[int | None, lone("boot", "order", Integer(low=1, high=2**31 - 1), needed=True)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    rom: Annotated[Rom | None, child("rom", Rom, hollow=ANY)] = None
    address: Annotated[address.PciAddress | None, variant("address", "type", address.PCI)] = None
