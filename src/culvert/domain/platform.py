"""The machine below the devices: ``<os>``, ``<clock>``, ``<pm>``, ``<memoryBacking>``.

Source: docs/formatdomain, "Operating system booting", "Time keeping", "Power Management", "Memory Backing".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain.binding import ANY, BLANK, attribute, child, children, content, flag, leaf, lone, sized
from culvert.domain.loader import FirmwareWish, Loader, Nvram
from culvert.domain.scalars import (
    ANY_TEXT,
    CPU_SET,
    PATH,
    TOKEN,
    UINT,
    ULONG,
    YES_NO,
    YES_OR_NOT,
    Integer,
    Pattern,
    one_of,
)
from culvert.ground import errors

REBOOT = Integer(low=-1, high=65535, refusal=errors.ConfigUnsupported)
OFFSETS = one_of("utc", "localtime", "variable", "timezone", "absolute")
ADJUSTMENT = Pattern(r"reset|[+-]?[0-9]{1,18}", "number of seconds, or reset")
ZONE = Pattern(r"[A-Za-z0-9_+/:,.-]+", "time zone")
ARCH = one_of("x86_64", "i686")


@dataclass(frozen=True, slots=True, kw_only=True)
class OsType:
    """Architecture and machine type; ``machine`` None or an alias (pc, q35) until defaults are filled in."""

    arch: Annotated[str | None, attribute("arch", ARCH, silent=BLANK)] = None
    machine: Annotated[str | None, attribute("machine", TOKEN, silent=BLANK)] = None
    name: Annotated[str, content(one_of("hvm"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """One kind of device to boot from."""

    dev: Annotated[str, attribute("dev", one_of("hd", "cdrom", "network", "fd"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class BootMenu:
    """The firmware's menu; ``timeout`` in milliseconds."""

    enable: Annotated[bool | None, attribute("enable", YES_NO)] = None
    timeout: Annotated[int | None, attribute("timeout", Integer(high=65535, refusal=errors.ConfigUnsupported))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bios:
    """``useserial``: its messages go to the first serial port; ``reboot_timeout`` in milliseconds, -1 for never."""

    useserial: Annotated[bool | None, attribute("useserial", YES_OR_NOT)] = None
    reboot_timeout: Annotated[int | None, attribute("rebootTimeout", REBOOT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcpiTable:
    """A table of the host's that is shown to the guest, from a file."""

    type: Annotated[str, attribute("type", one_of("slic"))]
    path: Annotated[str | None, content(PATH)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OsAcpi:
    """There is one table, at most."""

    table: Annotated[AcpiTable | None, child("table", AcpiTable)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Os:
    """``<os>``. ``firmware``: what kind of one is to be found; in a domain that runs it has been found."""

    firmware: Annotated[str | None, attribute("firmware", one_of("bios", "efi"), silent=BLANK)] = None
    type: Annotated[OsType, child("type", OsType)]
    firmware_wish: Annotated[FirmwareWish | None, child("firmware", FirmwareWish)] = None
    loader: Annotated[Loader | None, child("loader", Loader)] = None
    nvram: Annotated[Nvram | None, child("nvram", Nvram)] = None
    kernel: Annotated[str | None, leaf("kernel", PATH, silent=BLANK)] = None
    initrd: Annotated[str | None, leaf("initrd", PATH, silent=BLANK)] = None
    cmdline: Annotated[str | None, leaf("cmdline", ANY_TEXT, silent=BLANK)] = None
    acpi: Annotated[OsAcpi | None, child("acpi", OsAcpi, hollow="table")] = None
    boot: Annotated[tuple[Boot, ...], children("boot", Boot)] = ()
    bootmenu: Annotated[BootMenu | None, child("bootmenu", BootMenu, hollow="enable")] = None
    bios: Annotated[Bios | None, child("bios", Bios, hollow=ANY)] = None
    smbios: Annotated[str | None, lone("smbios", "mode", one_of("emulate", "sysinfo"), needed=True)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catchup:
    """How missed ticks are made up for."""

    threshold: Annotated[int | None, attribute("threshold", ULONG, silent=("0",))] = None
    slew: Annotated[int | None, attribute("slew", ULONG, silent=("0",))] = None
    limit: Annotated[int | None, attribute("limit", ULONG, silent=("0",))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """One source of time and what becomes of ticks the guest missed; ``frequency`` in Hz."""

    name: Annotated[str, attribute("name", one_of("rtc", "pit", "hpet", "tsc", "kvmclock", "hypervclock"))]
    present: Annotated[bool | None, attribute("present", YES_NO)] = None
    tickpolicy: Annotated[str | None, attribute("tickpolicy", one_of("delay", "catchup", "discard"))] = None
    track: Annotated[str | None, attribute("track", one_of("boot", "guest", "wall", "realtime"))] = None
    frequency: Annotated[int | None, attribute("frequency", ULONG, silent=("0",))] = None
    catchup: Annotated[Catchup | None, child("catchup", Catchup, hollow="*")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """``<clock>``: the time that the guest's begins with. ``adjustment``: seconds from the time of ``basis``, or
    "reset"; ``start``: seconds of the epoch."""

    offset: Annotated[str, attribute("offset", OFFSETS, silent=BLANK)] = "utc"
    adjustment: Annotated[str | None, attribute("adjustment", ADJUSTMENT, silent=BLANK)] = None
    basis: Annotated[str | None, attribute("basis", one_of("utc", "localtime"))] = None
    timezone: Annotated[str | None, attribute("timezone", ZONE)] = None
    start: Annotated[int | None, attribute("start", ULONG)] = None
    timers: Annotated[tuple[Timer, ...], children("timer", Timer)] = ()

    def timer(self, name: str) -> Timer | None:
        return next((timer for timer in self.timers if timer.name == name), None)


def complete_clock(told: Clock | None) -> Clock:
    """What is adjusted is variable (virDomainClockDefParseXML). Raises ``errors.XMLError`` for what is missing."""
    clock = told or Clock()
    if clock.offset == "timezone" and clock.timezone is None:
        raise errors.XMLError("XML error: missing 'timezone' attribute for clock with offset='timezone'")
    if clock.offset == "absolute" and clock.start is None:
        raise errors.XMLError("XML error: missing 'start' attribute for clock with offset='absolute'")
    if clock.offset in ("utc", "localtime") and clock.adjustment not in (None, "reset"):
        return replace(clock, offset="variable", basis=clock.offset, timezone=None, start=None)
    if clock.offset == "variable":
        seconds = "0" if clock.adjustment in (None, "reset") else clock.adjustment
        return replace(clock, adjustment=seconds, basis=clock.basis or "utc", timezone=None, start=None)
    if clock.offset == "absolute":
        return replace(clock, adjustment=None, basis=None, timezone=None)
    if clock.offset == "timezone":
        return replace(clock, adjustment=None, basis=None, start=None)
    return replace(clock, basis=None, timezone=None, start=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pm:
    """Whether the firmware offers suspend."""

    suspend_to_mem: Annotated[bool | None, lone("suspend-to-mem", "enabled", YES_NO)] = None
    suspend_to_disk: Annotated[bool | None, lone("suspend-to-disk", "enabled", YES_NO)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HugePage:
    """Pages of ``size`` KiB for the guest's nodes of ``nodeset``, or for all that have no others."""

    size: Annotated[int, sized("size")]
    nodeset: Annotated[frozenset[int] | None, attribute("nodeset", CPU_SET)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HugePages:
    """Memory of the host's huge pages, of its usual size where none is named."""

    pages: Annotated[tuple[HugePage, ...], children("page", HugePage)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """``immediate``: all of it at the start, by ``threads`` of QEMU's."""

    mode: Annotated[str | None, attribute("mode", one_of("immediate", "ondemand"), silent=BLANK)] = None
    threads: Annotated[int | None, attribute("threads", UINT, silent=("0",))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBacking:
    """Where the guest's memory comes from. ``locked``: it stays in RAM."""

    hugepages: Annotated[HugePages | None, child("hugepages", HugePages)] = None
    nosharepages: Annotated[bool, flag("nosharepages")] = False
    locked: Annotated[bool, flag("locked")] = False
    source: Annotated[str | None, lone("source", "type", one_of("anonymous", "file", "memfd"), silent=BLANK)] = None
    access: Annotated[str | None, lone("access", "mode", one_of("shared", "private"), silent=BLANK)] = None
    allocation: Annotated[Allocation | None, child("allocation", Allocation, hollow="*")] = None
    discard: Annotated[bool, flag("discard")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seclabel:
    """A wish for no label; one that libvirt has made up is left out when it is read (``parse``)."""

    type: Annotated[str, attribute("type", one_of("none"))]
    model: Annotated[str, attribute("model", TOKEN)] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """The resource group libvirt puts every domain in."""

    partition: Annotated[str, leaf("partition", PATH)]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdRange:
    """``count`` numbers from ``start`` on are ``target`` and those behind it."""

    start: Annotated[int, attribute("start", UINT)]
    target: Annotated[int, attribute("target", UINT)]
    count: Annotated[int, attribute("count", UINT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdMap:
    """Users of a container; nothing to a machine, and kept."""

    uids: Annotated[tuple[IdRange, ...], children("uid", IdRange)] = ()
    gids: Annotated[tuple[IdRange, ...], children("gid", IdRange)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfEvent:
    """Something that the host's processors count."""

    name: Annotated[str, attribute("name", TOKEN)]
    enabled: Annotated[bool, attribute("enabled", YES_NO)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Perf:
    """What is counted while the guest runs."""

    events: Annotated[tuple[PerfEvent, ...], children("event", PerfEvent)] = ()
