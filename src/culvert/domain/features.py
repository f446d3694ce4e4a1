"""``<features>``: switches of the machine and of the hypervisor's interface to the guest.

Source: docs/formatdomain, "Hypervisor features".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain.binding import amount, attribute, child, content, flag, lone
from culvert.domain.scalars import ON_OFF, TOKEN, ULONG, Integer, Pattern, one_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Apic:
    """The interrupt controller; ``eoi``: paravirtual end of interrupt."""

    eoi: Annotated[bool | None, attribute("eoi", ON_OFF)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Toggle:
    """An element that is on when it is there, unless its state says otherwise."""

    state: Annotated[bool | None, attribute("state", ON_OFF)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spinlocks:
    """How often a guest tries a lock before it yields."""

    state: Annotated[bool, attribute("state", ON_OFF)]
    retries: Annotated[int | None, attribute("retries", Integer(low=4095, high=2**32 - 1, any_base=True))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tseg:
    """Memory of the machine's management mode; in MiB where no unit is said."""

    unit: Annotated[str | None, attribute("unit", TOKEN, silent=("",))] = None
    size: Annotated[int, content(ULONG)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Smm:
    """System management mode."""

    state: Annotated[bool | None, attribute("state", ON_OFF)] = None
    tseg: Annotated[Tseg | None, child("tseg", Tseg)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyRing:
    """How many pages each processor notes that it has written."""

    state: Annotated[bool, attribute("state", ON_OFF)]
    size: Annotated[int | None, attribute("size", Integer(low=1024, high=65536))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcg:
    """How much of what it has translated the emulation keeps."""

    tb_cache: Annotated[int | None, amount("tb-cache")] = None


VENDOR = Pattern(r"[^,]{1,12}", "vendor id of at most 12 characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stimer:
    """Synthetic timers; ``direct``: their interrupts come straight to the processor."""

    state: Annotated[bool, attribute("state", ON_OFF)]
    direct: Annotated[bool | None, lone("direct", "state", ON_OFF, needed=True)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorId:
    """Who the guest is told has made the hypervisor: at most twelve characters."""

    state: Annotated[bool, attribute("state", ON_OFF)]
    value: Annotated[str | None, attribute("value", VENDOR)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperV:
    """Enlightenments for Windows guests."""

    mode: Annotated[str | None, attribute("mode", one_of("custom", "passthrough"))] = None
    relaxed: Annotated[bool | None, lone("relaxed", "state", ON_OFF, needed=True)] = None
    vapic: Annotated[bool | None, lone("vapic", "state", ON_OFF, needed=True)] = None
    spinlocks: Annotated[Spinlocks | None, child("spinlocks", Spinlocks)] = None
    vpindex: Annotated[bool | None, lone("vpindex", "state", ON_OFF, needed=True)] = None
    runtime: Annotated[bool | None, lone("runtime", "state", ON_OFF, needed=True)] = None
    synic: Annotated[bool | None, lone("synic", "state", ON_OFF, needed=True)] = None
    stimer: Annotated[Stimer | None, child("stimer", Stimer)] = None
    reset: Annotated[bool | None, lone("reset", "state", ON_OFF, needed=True)] = None
    vendor_id: Annotated[VendorId | None, child("vendor_id", VendorId)] = None
    frequencies: Annotated[bool | None, lone("frequencies", "state", ON_OFF, needed=True)] = None
    reenlightenment: Annotated[bool | None, lone("reenlightenment", "state", ON_OFF, needed=True)] = None
    tlbflush: Annotated[bool | None, lone("tlbflush", "state", ON_OFF, needed=True)] = None
    ipi: Annotated[bool | None, lone("ipi", "state", ON_OFF, needed=True)] = None
    evmcs: Annotated[bool | None, lone("evmcs", "state", ON_OFF, needed=True)] = None
    avic: Annotated[bool | None, lone("avic", "state", ON_OFF, needed=True)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kvm:
    """``hidden``: KVM does not show itself to the guest; the others are hints to a guest that knows it."""

    hidden: Annotated[bool | None, lone("hidden", "state", ON_OFF, needed=True)] = None
    hint_dedicated: Annotated[bool | None, lone("hint-dedicated", "state", ON_OFF, needed=True)] = None
    poll_control: Annotated[bool | None, lone("poll-control", "state", ON_OFF, needed=True)] = None
    pv_ipi: Annotated[bool | None, lone("pv-ipi", "state", ON_OFF, needed=True)] = None
    dirty_ring: Annotated[DirtyRing | None, child("dirty-ring", DirtyRing)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """``<features>``. ``pae`` and ``hap`` have no effect with QEMU, for libvirt as for us; they are kept."""

    acpi: Annotated[bool, flag("acpi")] = False
    apic: Annotated[Apic | None, child("apic", Apic)] = None
    pae: Annotated[bool, flag("pae")] = False
    hap: Annotated[Toggle | None, child("hap", Toggle)] = None
    hyperv: Annotated[HyperV | None, child("hyperv", HyperV)] = None
    kvm: Annotated[Kvm | None, child("kvm", Kvm)] = None
    pvspinlock: Annotated[Toggle | None, child("pvspinlock", Toggle)] = None
    pmu: Annotated[Toggle | None, child("pmu", Toggle)] = None
    vmport: Annotated[Toggle | None, child("vmport", Toggle)] = None
    smm: Annotated[Smm | None, child("smm", Smm)] = None
    ioapic: Annotated[str | None, lone("ioapic", "driver", one_of("kvm", "qemu"), needed=True)] = None
    vmcoreinfo: Annotated[Toggle | None, child("vmcoreinfo", Toggle)] = None
    msrs: Annotated[str | None, lone("msrs", "unknown", one_of("ignore", "fault"), needed=True)] = None
    tcg: Annotated[Tcg | None, child("tcg", Tcg, hollow="tb_cache")] = None
