"""Disks and network cards plugged into a domain and out of it, while it runs or for its next start.

A running guest gets a device on a free place of its kind: a slot of the pc's root bus, an empty root port of a q35.
Source: qemu/qemu_hotplug.c of libvirt 9.0.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

from culvert.domain import addresses, defaults, defaults_devices, ports, validate
from culvert.domain import parse as xml_parse
from culvert.domain.definition import DomainDef
from culvert.domain.devices import Devices
from culvert.domain.disk import Disk, numbered
from culvert.domain.display import Graphics
from culvert.domain.interface import Interface, InterfaceTarget
from culvert.drivers.qemu import impact, network, screen, unplug
from culvert.drivers.qemu.command import command_disk, command_network
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.driver import Driver
from culvert.drivers.qemu.run import Run
from culvert.ground import errors
from culvert.io import apart
from culvert.protocol.constants_state import EventID

Device = Disk | Interface

# Argument of QEMU's command line → the command that does the same later.
COMMANDS = {"-blockdev": "blockdev-add", "-netdev": "netdev_add", "-device": "device_add"}


async def attach(driver: Driver, domain: Domain, xml: str, flags: int) -> None:
    """Plug in the device ``xml``; event DEVICE_ADDED when the guest runs.

    Nothing has changed when it raises: ``errors.OperationFailed`` for a target that is taken, QEMU's refusals,
    ``errors.ConfigUnsupported`` for what cannot be plugged in or has no place.
    """
    # Once for both: a card has one address in the running guest and in the next.
    device = await apart.run(lambda: completed(xml_parse.parse_device(xml)))
    # What QEMU has plugged in must not stay unknown here.
    await domain.host.carry_out(_attach(driver, domain, device, flags), name=f"attach-{domain.name}")


async def _attach(driver: Driver, domain: Domain, device: Device, flags: int) -> None:
    async with domain.changing("attach a device to"):
        about = impact.impact(domain, flags)
        if about.config:  # refused before anything is plugged in
            await apart.run(driver.accept, added(domain.require_persistent(), device))
        if about.live:
            await _plug(domain, domain.require_active(), device)
        if about.config:
            await domain.change_persistent(lambda one: driver.accept(added(one, device)))


async def detach(driver: Driver, domain: Domain, xml: str, flags: int) -> None:
    """Plug out the device that ``xml`` names by its target, or a card by its address.

    A running guest that does not let go in time keeps it for now; event DEVICE_REMOVED tells when it has gone.
    Raises ``errors.DeviceMissing``.
    """
    wanted = await apart.run(xml_parse.parse_device, xml)
    async with domain.changing("detach a device from"):
        about = impact.impact(domain, flags)
        if about.config:
            assert domain.persistent is not None
            find(domain.persistent, wanted)  # before anything is plugged out
        if about.live:
            run = domain.require_active()
            found = find(run.definition, wanted)
            _check_pluggable(found)
            await unplug.unplug(domain, run, found.alias or "")
        if about.config:
            await domain.change_persistent(lambda one: driver.accept(_removed(one, find(one, wanted))))


async def detach_alias(domain: Domain, alias: str) -> None:
    """Plug the device of that name out of the running guest. Raises ``errors.DeviceMissing``."""
    async with domain.changing("detach a device from"):
        run = domain.require_active()
        found = unplug.pluggable(run).get(alias)
        if found is None:
            raise errors.DeviceMissing(f"device not found: no device found with alias {alias}")
        _check_pluggable(found)
        await unplug.unplug(domain, run, alias)


async def update(driver: Driver, domain: Domain, xml: str, flags: int, *, force: bool) -> None:
    """Change a device: the medium of a cdrom drive or a screen's password at once, anything for the next start.

    ``force``: open a tray that the guest has locked. Raises ``errors.OperationUnsupported`` for other changes of a
    running guest's device.
    """
    wanted = await apart.run(xml_parse.parse_changed, xml)
    if isinstance(wanted, Graphics):
        await screen.change(driver, domain, wanted, flags)
        return
    async with domain.changing("update a device of"):
        about = impact.impact(domain, flags)
        if about.config:  # refused before anything is changed
            kept = domain.require_persistent()
            await apart.run(driver.accept, _replaced(kept, find(kept, wanted), wanted))
        if about.live:
            run = domain.require_active()
            live = find(run.definition, wanted)
            if not isinstance(live, Disk) or not isinstance(wanted, Disk) or not live.is_cdrom:
                raise errors.OperationUnsupported(
                    "only the medium of a cdrom drive and a screen's password can be changed live"
                )
            await _change_medium(domain, run, live, wanted, force=force)
        if about.config:
            await domain.change_persistent(lambda one: driver.accept(_replaced(one, find(one, wanted), wanted)))


def find(definition: DomainDef, wanted: Device) -> Device:
    """The device of ``definition`` that is meant. Raises ``errors.DeviceMissing``, ``errors.OperationFailed``."""
    if isinstance(wanted, Disk):
        for disk in definition.devices.disks:
            if disk.target.dev == wanted.target.dev:
                return disk
        raise errors.DeviceMissing(f"device not found: disk {wanted.target.dev} not found")
    cards = [
        card
        for card in definition.devices.interfaces
        if wanted.mac in (None, card.mac)
        and wanted.address in (None, card.address)
        and (wanted.alias is None or card.alias in (None, wanted.alias))
    ]
    if not cards:
        raise errors.DeviceMissing(f"device not found: no device found matching MAC address {wanted.mac}")
    if len(cards) > 1:
        raise errors.OperationFailed(f"multiple devices matching MAC address {wanted.mac} found: say its PCI address")
    return cards[0]


def completed(device: Device) -> Device:
    """``device`` with libvirt's defaults, its place apart. Raises for what no definition may have."""
    whole: Device
    if isinstance(device, Disk):
        whole = defaults_devices.complete_disk(device)
    else:
        whole = defaults_devices.complete_interface(device, os.urandom(8).hex())
    validate.check_device(whole)
    return whole


def added(definition: DomainDef, device: Device) -> DomainDef:
    """``definition`` with ``device`` too. Raises ``errors.OperationFailed`` for a target taken."""
    devices = definition.devices
    if isinstance(device, Disk):
        if any(disk.target.dev == device.target.dev for disk in devices.disks):
            raise errors.OperationFailed(f"target {device.target.dev} already exists")
        devices = replace(devices, disks=defaults_devices.with_disk(devices.disks, device))
    else:
        devices = replace(devices, interfaces=(*devices.interfaces, device))
    return replace(definition, devices=devices)


def _removed(definition: DomainDef, device: Device) -> DomainDef:
    devices = definition.devices
    return replace(
        definition,
        devices=replace(
            devices,
            disks=tuple(disk for disk in devices.disks if disk is not device),
            interfaces=tuple(card for card in devices.interfaces if card is not device),
        ),
    )


def _replaced(definition: DomainDef, old: Device, new: Device) -> DomainDef:
    devices = definition.devices
    if isinstance(new, Disk):
        disks = tuple(
            replace(new, address=new.address or one.address) if one is old else one for one in devices.disks
        )
        return replace(definition, devices=replace(devices, disks=disks))
    cards = tuple(
        replace(new, address=new.address or one.address) if one is old else one for one in devices.interfaces
    )
    return replace(definition, devices=replace(devices, interfaces=cards))


def _check_pluggable(device: Device) -> None:
    if isinstance(device, Disk) and device.bus != "virtio":
        raise errors.OperationUnsupported(
            f"disk '{device.target.dev}' on bus '{device.bus}' cannot be plugged in or out while the guest runs"
        )


def grown(definition: DomainDef, device: Device) -> tuple[DomainDef, Device]:
    """The running ``definition`` with the completed ``device`` in its place, and that device; pure.

    What no start would take is refused here too: the guest could neither be migrated nor saved any more, for its
    definition is completed anew at the other end. Raises as ``attach``.
    """
    _check_pluggable(device)
    named = _named(definition, device)
    held: tuple[Device, ...] = (*definition.devices.disks, *definition.devices.interfaces)
    before = {one.alias for one in held}
    wanted = added(definition, named)
    if named.alias in before:
        raise errors.OperationFailed(f"domain '{definition.name}' has a device with alias '{named.alias}' already")
    defaults.check_boot(wanted)
    ports.assign(wanted.devices)  # for what it refuses: all but the new one have their places
    validate.check_grown(definition, wanted)
    placed = addresses.plug(wanted)
    both: tuple[Device, ...] = (*placed.devices.disks, *placed.devices.interfaces)
    return placed, next(one for one in both if one.alias not in before)


async def _plug(domain: Domain, run: Run, device: Device) -> None:
    whole, new = await apart.run(grown, run.definition, device)
    if isinstance(new, Disk):
        await _plug_disk(domain, whole, new)
    else:
        new = await _plug_card(domain, whole, new)
    # Not ``whole``: meanwhile the guest may have changed what is known of it.
    run.definition = added(run.definition, new)
    await domain.persist()
    domain.tell(EventID.DEVICE_ADDED, dev_alias=new.alias)


def _named(definition: DomainDef, device: Device) -> Device:
    """``device`` with an alias of its own, and a number for its image."""
    devices = definition.devices
    if isinstance(device, Disk):
        alias = device.alias or f"virtio-disk{device.target.number}"
        return numbered(replace(device, alias=alias), _next_index(devices))
    taken = {card.alias for card in devices.interfaces}
    number = next(number for number in range(len(taken) + 1) if f"net{number}" not in taken)
    return replace(device, alias=device.alias or f"net{number}")


def _next_index(devices: Devices) -> int:
    return max((index for disk in devices.disks for index in disk.indexes), default=0) + 1


async def _plug_disk(domain: Domain, definition: DomainDef, disk: Disk) -> None:
    argv = command_disk.one_disk(definition, disk, disk.boot)
    await _run(domain, argv, lambda: unplug.remove_nodes(domain, disk))


async def _plug_card(domain: Domain, definition: DomainDef, card: Interface) -> Interface:
    fd_name = None
    if card.type != "user":
        assert card.mac is not None
        target = card.target or InterfaceTarget()
        tap = await network.open_tap(target.dev, mac=card.mac, bridge=card.bridge, mtu=card.mtu)
        fd_name = f"fd-{card.alias}"
        try:
            await domain.monitor.send_fd(fd_name, tap.fd)
        finally:
            await asyncio.to_thread(os.close, tap.fd)
        card = replace(card, target=replace(target, dev=tap.name))
    argv = [*command_network.netdev(card, fd_name), *command_network.card(definition, card, card.boot)]
    await _run(domain, argv, lambda: unplug.remove_netdev(domain, card))
    return card


async def _run(domain: Domain, argv: list[str], undo: Callable[[], Awaitable[None]]) -> None:
    """Carry out arguments of the command line one after the other; all of them, or ``undo``."""
    try:
        for flag, text in zip(argv[::2], argv[1::2], strict=True):
            await domain.monitor.execute(COMMANDS[flag], json.loads(text))
    except BaseException:
        await undo()
        raise


async def _change_medium(domain: Domain, run: Run, drive: Disk, wanted: Disk, *, force: bool) -> None:
    """Take the old medium out of a drive and put the new one in."""
    monitor, alias = domain.monitor, drive.alias or ""
    new = replace(
        drive,
        type=wanted.type,
        source=wanted.source if wanted.path else None,
        backing_store=wanted.backing_store,
        driver=wanted.driver or drive.driver,
    )
    completed = defaults_devices.complete_disk(numbered(new, _next_index(run.definition.devices)))
    validate.check_device(completed)  # before the old medium is gone
    await monitor.execute("blockdev-open-tray", {"id": alias, "force": force})
    if drive.path is not None:
        await monitor.execute("blockdev-remove-medium", {"id": alias})
        await unplug.remove_nodes(domain, drive)
    empty = replace(drive, source=None, backing_store=None)
    try:
        if completed.path is not None:
            await _run(domain, command_disk.image(completed), lambda: unplug.remove_nodes(domain, completed))
            node = command_disk.node_names(completed)[0]
            await monitor.execute("blockdev-insert-medium", {"id": alias, "node-name": node})
            empty = completed
        await monitor.execute("blockdev-close-tray", {"id": alias})
    finally:
        disks = tuple(empty if disk.alias == alias else disk for disk in run.definition.devices.disks)
        run.definition = replace(run.definition, devices=replace(run.definition.devices, disks=disks))
        await domain.persist()
