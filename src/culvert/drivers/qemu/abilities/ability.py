"""What one QEMU can do and another cannot, as a set of flags: asked of itself, never derived from its version. Pure.

Each flag is a row of one of three tables, by where QEMU tells of it: its description of its monitor's commands
(``query-qmp-schema``), its options' parameters (``query-command-line-options``), its devices' properties and what
those are by default (``device-list-properties``). A flag is set when QEMU tells of what its row says. What QEMU does
not tell of is not written and not sent.

A QEMU that already runs may be another one than the file of its name by now. It is asked for the first table over its
own monitor (``running.ask``), and answers for itself: ``Run.abilities``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from culvert.drivers.qemu.abilities.schema import Schema


class Ability(StrEnum):
    """A thing that some QEMU can do; the value is what it is called in the memory of a probe."""

    # its command line
    MACHINE_ACPI = "machine.acpi"
    MACHINE_HPET = "machine.hpet"
    MONITOR_OBJECT = "object.monitor-qmp"
    """``-mon`` is deprecated, a monitor is an object."""
    ITCO_BITES = "ICH9-LPC.noreboot=off"
    """The watchdog in the chip of a q35 machine resets the guest, unless QEMU is told otherwise."""
    SPICE = "chardev-spicevmc"
    """A module of QEMU's, which Debian 13 has in a package of its own."""

    RECONNECT_MS = "chardev.reconnect-ms"
    """Until a connection is tried again it counts milliseconds; by seconds it is deprecated since 9.2."""

    # its monitor: migration
    MIGRATE_CHANNELS = "migrate.channels"
    INCOMING_CHANNELS = "migrate-incoming.channels"
    INCOMING_EXIT_ON_ERROR = "migrate-incoming.exit-on-error"
    SWITCHOVER_ACK = "migrate.switchover-ack"
    DIRTY_LIMIT = "migrate.dirty-limit"
    MAPPED_RAM = "migrate.mapped-ram"
    MIGRATE_FILE = "migrate.file"
    COMPRESS = "migrate.compress"
    AVAIL_SWITCHOVER_BANDWIDTH = "migrate.avail-switchover-bandwidth"
    ZERO_PAGE_DETECTION = "migrate.zero-page-detection"
    MIGRATE_MODE = "migrate.mode"
    DIRECT_IO = "migrate.direct-io"
    STATUS_RECOVER_SETUP = "migrate.status.postcopy-recover-setup"
    STATUS_POSTCOPY_DEVICE = "migrate.status.postcopy-device"
    STATUS_FAILING = "migrate.status.failing"
    REMAINING = "query-migrate.remaining"
    POSTCOPY_LATENCY = "query-migrate.postcopy-latency"


_CAPABILITY = "migrate-set-capabilities/arg-type/capabilities/capability/^"
_PARAMETER = "migrate-set-parameters/arg-type/"
_STATUS = "query-migrate/ret-type/status/^"

SCHEMA: dict[Ability, str] = {
    Ability.MONITOR_OBJECT: "object-add/arg-type/qom-type/^monitor-qmp",
    Ability.RECONNECT_MS: "chardev-add/arg-type/backend/+socket/data/reconnect-ms",
    Ability.MIGRATE_CHANNELS: "migrate/arg-type/channels",
    Ability.INCOMING_CHANNELS: "migrate-incoming/arg-type/channels",
    Ability.INCOMING_EXIT_ON_ERROR: "migrate-incoming/arg-type/exit-on-error",
    Ability.SWITCHOVER_ACK: f"{_CAPABILITY}switchover-ack",
    Ability.DIRTY_LIMIT: f"{_CAPABILITY}dirty-limit",
    Ability.MAPPED_RAM: f"{_CAPABILITY}mapped-ram",
    Ability.MIGRATE_FILE: "migrate/arg-type/channels/addr/transport/^file",
    Ability.COMPRESS: f"{_CAPABILITY}compress",
    Ability.AVAIL_SWITCHOVER_BANDWIDTH: f"{_PARAMETER}avail-switchover-bandwidth",
    Ability.ZERO_PAGE_DETECTION: f"{_PARAMETER}zero-page-detection",
    Ability.MIGRATE_MODE: f"{_PARAMETER}mode",
    Ability.DIRECT_IO: f"{_PARAMETER}direct-io",
    Ability.STATUS_RECOVER_SETUP: f"{_STATUS}postcopy-recover-setup",
    Ability.STATUS_POSTCOPY_DEVICE: f"{_STATUS}postcopy-device",
    Ability.STATUS_FAILING: f"{_STATUS}failing",
    Ability.REMAINING: "query-migrate/ret-type/remaining",
    Ability.POSTCOPY_LATENCY: "query-migrate/ret-type/postcopy-latency",
}
"""Path for ``Schema.has``; also of a QEMU that runs."""

OPTIONS: dict[Ability, tuple[str, str]] = {
    # A machine's are listed since 8.0; where they are not, libvirt writes -no-acpi and -no-hpet.
    Ability.MACHINE_ACPI: ("machine", "acpi"),
    Ability.MACHINE_HPET: ("machine", "hpet"),
}
"""Option and its parameter."""

PROPERTIES: dict[Ability, tuple[str, str, object]] = {
    Ability.ITCO_BITES: ("ICH9-LPC", "noreboot", False),  # since 8.0
}
"""Type of device, its property, and what that is where nobody says."""

TYPES: dict[Ability, str] = {
    Ability.SPICE: "chardev-spicevmc",
}
"""Type of a character device; the commands of SPICE are there without the module."""

PROPERTY_TYPES = tuple(sorted({kind for kind, _, _ in PROPERTIES.values()}))


@dataclass(frozen=True, slots=True)
class Abilities:
    """What one QEMU can do; ``devices``: the types of devices that it has, empty where that was not asked."""

    flags: frozenset[Ability] = frozenset()
    devices: frozenset[str] = frozenset()

    def __contains__(self, ability: Ability) -> bool:
        return ability in self.flags


NONE = Abilities()
"""Of what was not asked, and of a QEMU that does not say."""


def of_schema(entities: Iterable[Mapping[str, Any]]) -> frozenset[Ability]:
    """By the answer to ``query-qmp-schema``: what a QEMU can be told while it runs. Takes some milliseconds.

    An answer that is none says nothing, and it is done without.
    """
    try:
        schema = Schema(entities)
        return frozenset(ability for ability, path in SCHEMA.items() if schema.has(path))
    except (LookupError, TypeError, ValueError, AttributeError):
        return frozenset()


def of_options(options: Iterable[Mapping[str, Any]]) -> frozenset[Ability]:
    """By the answer to ``query-command-line-options``."""
    known = {(each.get("option"), one.get("name")) for each in options for one in each.get("parameters", ())}
    return frozenset(ability for ability, pair in OPTIONS.items() if pair in known)


def of_properties(properties: Mapping[str, Iterable[Mapping[str, Any]]]) -> frozenset[Ability]:
    """By the answers to ``device-list-properties`` for each of ``PROPERTY_TYPES`` that is there."""
    known = {
        (kind, one.get("name"), one.get("default-value")) for kind, answer in properties.items() for one in answer
    }
    return frozenset(ability for ability, row in PROPERTIES.items() if row in known)


def of_types(types: Iterable[Mapping[str, Any]]) -> frozenset[Ability]:
    """By the answer to ``qom-list-types`` for character devices."""
    known = {one.get("name") for one in types}
    return frozenset(ability for ability, name in TYPES.items() if name in known)
