"""Small helpers of the guest: ``<watchdog>``, ``<memballoon>``, ``<rng>``.

Source: docs/formatdomain, "Watchdog devices", "Memory balloon device", "Random number generator device".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain import address, virtio
from culvert.domain.binding import again, attribute, child, content, lone, variant
from culvert.domain.chardev import BACKENDS, ChardevSource
from culvert.domain.scalars import ANY_TEXT, ON_OFF, PATH, UINT, Integer, one_of

PERIOD = Integer(high=2**32 - 1, any_base=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """A timer that acts when the guest stops feeding it; ``itco`` is the one in the chip of every q35 machine."""

    model: Annotated[str, attribute("model", one_of("i6300esb", "ib700", "itco"))]
    action: Annotated[
        str | None,
        attribute("action", one_of("reset", "shutdown", "poweroff", "pause", "none", "dump", "inject-nmi")),
    ] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.PciAddress | None, variant("address", "type", address.PCI)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memballoon:
    """The balloon; ``model='none'`` for none at all. ``stats``: seconds between statistics."""

    model: Annotated[str, attribute("model", one_of(*virtio.MODELS.words, "none"))]
    autodeflate: Annotated[bool | None, attribute("autodeflate", ON_OFF)] = None
    free_page_reporting: Annotated[bool | None, attribute("freePageReporting", ON_OFF)] = None
    stats: Annotated[int | None, lone("stats", "period", PERIOD, silent=("0",))] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.PciAddress | None, variant("address", "type", address.PCI)] = None
    driver: Annotated[virtio.VirtioDriver | None, child("driver", virtio.VirtioDriver, hollow="*")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Panic:
    """How the guest tells that it is lost: a port of the machine's, or a register of the hypervisor's."""

    model: Annotated[str | None, attribute("model", one_of("isa", "hyperv"))] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.IsaAddress | address.PciAddress | None, variant("address", "type", address.PANIC)] = (
        None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RngRate:
    """At most ``bytes`` in ``period`` milliseconds."""

    bytes: Annotated[int | None, attribute("bytes", UINT, silent=("", "0"))] = None
    period: Annotated[int | None, attribute("period", UINT, silent=("", "0"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RngBackend:
    """Where randomness comes from: a device file, /dev/random unless said, a daemon, or QEMU's own source."""

    model: Annotated[str, attribute("model", one_of("random", "egd", "builtin"))]
    type: Annotated[str | None, attribute("type", BACKENDS)] = None
    source: Annotated[ChardevSource | None, child("source", ChardevSource)] = None
    second: Annotated[ChardevSource | None, again("source", ChardevSource)] = None
    protocol: Annotated[str | None, lone("protocol", "type", one_of("raw", "telnet"))] = None
    path: Annotated[str | None, content(PATH)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rng:
    """A virtio random number generator."""

    model: Annotated[str, attribute("model", virtio.MODELS)]
    rate: Annotated[RngRate | None, child("rate", RngRate, hollow="bytes")] = None
    backend: Annotated[RngBackend, child("backend", RngBackend)]
    driver: Annotated[virtio.VirtioDriver | None, child("driver", virtio.VirtioDriver, hollow="*")] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.PciAddress | None, variant("address", "type", address.PCI)] = None
