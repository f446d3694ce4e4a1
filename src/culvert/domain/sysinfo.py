"""``<sysinfo>``: what the guest's firmware says of the machine and its makers.

Source: docs/formatdomain, "SMBIOS System Information"; util/virsysinfo.c for the order of output and what is checked.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain.binding import ANY, attribute, child, children, content
from culvert.domain.scalars import TEXT, Pattern, one_of
from culvert.ground import errors

# What each element may say, in the order in which it is shown and told to QEMU.
KEYS = {
    "bios": ("vendor", "version", "date", "release"),
    "system": ("manufacturer", "product", "version", "serial", "uuid", "sku", "family"),
    "base_board": ("manufacturer", "product", "version", "serial", "asset", "location"),
    "chassis": ("manufacturer", "version", "serial", "asset", "sku"),
}
_DATE = re.compile(r"(0?[1-9]|1[0-2])/(0?[1-9]|[12][0-9]|3[01])/([0-9]{2}|[0-9]{4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class SysinfoEntry:
    """One thing that is said; one without a value says nothing."""

    name: Annotated[str, attribute("name", Pattern(r"[A-Za-z0-9_./-]+", "name of an entry"))]
    value: Annotated[str | None, content(TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A structure of SMBIOS."""

    entries: Annotated[tuple[SysinfoEntry, ...], children("entry", SysinfoEntry)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OemString:
    """A text of the maker's own."""

    value: Annotated[str | None, content(TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OemStrings:
    """Texts of the maker's own."""

    entries: Annotated[tuple[OemString, ...], children("entry", OemString)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysinfo:
    """``smbios``: tables of the firmware; ``fwcfg``: files, by name, that it can ask for."""

    type: Annotated[str, attribute("type", one_of("smbios", "fwcfg"))]
    bios: Annotated[Block | None, child("bios", Block, hollow=ANY)] = None
    system: Annotated[Block | None, child("system", Block, hollow=ANY)] = None
    base_board: Annotated[tuple[Block, ...], children("baseBoard", Block)] = ()
    chassis: Annotated[Block | None, child("chassis", Block, hollow=ANY)] = None
    oem_strings: Annotated[OemStrings | None, child("oemStrings", OemStrings, hollow=ANY)] = None
    entries: Annotated[tuple[SysinfoEntry, ...], children("entry", SysinfoEntry)] = ()

    def value(self, block: str, name: str) -> str | None:
        """What ``block`` (one that is there once) says under ``name``."""
        held = getattr(self, block)
        return next((one.value for one in held.entries if one.name == name), None) if held else None


def complete(told: Sysinfo, domain_uuid: str) -> Sysinfo:
    """``told`` as libvirt shows it: what says nothing left out, the rest in libvirt's order.

    Raises ``errors.ConfigUnsupported`` for a name that is not known, ``errors.XMLDetail`` for a contradiction.
    """
    boards = [_ordered(block, "base_board") for block in told.base_board]
    whole = replace(
        told,
        bios=_one(told.bios, "bios"),
        system=_one(told.system, "system"),
        base_board=tuple(board for board in boards if board.entries),
        chassis=_one(told.chassis, "chassis"),
    )
    _check(whole, domain_uuid)
    return whole


def _one(block: Block | None, field: str) -> Block | None:
    found = _ordered(block, field) if block is not None else None
    return found if found and found.entries else None


def _ordered(block: Block, field: str) -> Block:
    known = KEYS[field]
    for entry in block.entries:
        if entry.name not in known:
            raise errors.ConfigUnsupported(
                f"unsupported configuration: /domain/sysinfo: an entry '{entry.name}' of <{field.replace('_b', 'B')}>"
                f" is not supported by culvert (supported: {', '.join(known)})"
            )
    given: dict[str, SysinfoEntry] = {}
    for entry in block.entries:
        if entry.value:
            given.setdefault(entry.name, entry)
    return replace(block, entries=tuple(given[name] for name in known if name in given))


def _check(told: Sysinfo, domain_uuid: str) -> None:
    date = told.value("bios", "date")
    if date is not None and not _DATE.fullmatch(date):
        raise errors.XMLDetail(f"Invalid BIOS 'date' format: '{date}' is not MM/DD/YYYY")
    system = told.value("system", "uuid")
    if system is not None and plain_uuid(system) != domain_uuid:
        raise errors.XMLDetail(f"UUID mismatch between <uuid> and <sysinfo>: {domain_uuid} and {system}")


def plain_uuid(text: str) -> str | None:
    """A UUID as libvirt writes it; None for what is none."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None
