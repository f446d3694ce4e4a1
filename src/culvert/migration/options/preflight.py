"""What is looked at before a migration begins, so that what cannot work is refused while nothing has happened."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from culvert.domain import abi, memory
from culvert.domain import format as xml_format
from culvert.domain import parse as xml_parse
from culvert.domain.definition import DomainDef
from culvert.ground import errors
from culvert.hypervisor import leaving
from culvert.hypervisor.contract import Guest
from culvert.migration.options import combinations
from culvert.migration.options.parameters import Options
from culvert.protocol.constants_migrate import MigrateFlag

log = logging.getLogger(__name__)


async def check(domain: Guest, options: Options) -> None:
    """Raise for what cannot work.

    ``OperationInvalid``: in its state, or by QEMU's word, this guest cannot migrate now. ``MigrateUnsafe``: its disks
    are not shared, or its QEMU would lose writes. ``ArgumentUnsupported``: QEMU cannot do together what was asked
    for.
    """
    if options.has(MigrateFlag.POSTCOPY_RESUME):
        raise errors.OperationInvalid(f"domain '{domain.name}' has no post-copy migration that could be resumed")
    version = await domain.hypervisor.version() if domain.is_active else 0
    combinations.check(options, source=version)
    if options.has(MigrateFlag.OFFLINE):
        if domain.is_active:
            raise errors.OperationInvalid(
                f"domain '{domain.name}' is running: offline migration moves a definition only"
            )
    else:
        leaving.check("migrate", domain.name, domain.state)
        if options.avail_switchover_bandwidth and not domain.hypervisor.can_expect_speed():
            raise errors.ArgumentUnsupported(
                f"migration parameter bandwidth.avail.switchover cannot be had: the QEMU of domain '{domain.name}' "
                "does not have it (8.2 and later do); nothing was changed"
            )
        leaving.check_bound("migrate", domain.name, domain.annotations)
        await _check_blockers(domain)
        if version < combinations.KEEPS_PAGES and memory.loses_pages(domain.definition):
            log.warning(
                "domain=%s runs under TCG with %d KiB of RAM: QEMU before 9.0 can lose pages of such a guest while "
                "it migrates; <memory unit='KiB'>%d</memory> keeps clear of that",
                *(domain.name, memory.ram(domain.definition), memory.safe(domain.definition)),
            )
        if not options.has(MigrateFlag.UNSAFE):
            _check_armed(domain, options, version)
            await _check_disks(domain, domain.definition)


def loses_armed(domain: Guest, version: combinations.Version) -> bool:
    """Whether the guest's QEMU, of that version, loses its writes once post-copy is allowed."""
    return domain.definition.type == "qemu" and version >= combinations.LOSES_ARMED


def _check_armed(domain: Guest, options: Options, version: combinations.Version) -> None:
    if options.postcopy and loses_armed(domain, version):
        raise errors.MigrateUnsafe(
            f"Unsafe migration: domain '{domain.name}' runs under TCG, and QEMU {combinations.spoken(version)} loses "
            "writes of such a guest once post-copy is allowed: leave --postcopy out; nothing was changed"
        )


def travelling(
    runs: DomainDef, definition: DomainDef, asked: str | None, complete: Callable[[DomainDef], DomainDef]
) -> str:
    """The XML for the destination: the domain's own in migratable form, or the one that was ``asked`` for.

    ``runs``: the running guest's definition, as its live XML has it; ``definition``: the same with the CPU that was
    configured. ``complete`` gives a definition libvirt's defaults, so that what an XML leaves out is no difference.
    Raises ``ConfigUnsupported``: the XML asked for would change what the guest sees.
    """
    if asked:
        wanted = complete(xml_parse.parse(asked))
        # What runs is said in the live XML, what was configured travels: either is the same machine.
        if wanted.cpu == runs.cpu:
            wanted = replace(wanted, cpu=definition.cpu)
        definition = _replacement(definition, wanted)
    # With its passwords: left out, the console would open to anybody at the other side.
    return xml_format.format(definition, migratable=True, secure=True)


def _replacement(definition: DomainDef, wanted: DomainDef) -> DomainDef:
    # A rename is asked for by destination_name; the XML's own name counts for nothing.
    wanted = replace(wanted, name=definition.name)
    abi.check(definition, wanted)
    return wanted


async def _check_blockers(domain: Guest) -> None:
    if reasons := await domain.hypervisor.blockers():
        raise errors.OperationInvalid(f"cannot migrate domain '{domain.name}': {'; '.join(reasons)}")


async def _check_disks(domain: Guest, definition: DomainDef) -> None:
    for disk in definition.devices.disks:
        path = disk.source.file if disk.source is not None else None
        if path is None or disk.readonly:
            continue
        if not await domain.hypervisor.is_shared(path):
            raise errors.MigrateUnsafe(
                "Migration without shared storage is unsafe: "
                f"disk '{disk.target.dev}' of domain '{domain.name}' is {path}; --unsafe if the destination sees it"
            )
