"""Disks and network cards plugged into a domain and out of it, while it runs or for its next start.

A running guest gets a device on a free place of its kind: a slot of the pc's root bus, an empty root port of a q35.
Source: qemu/qemu_hotplug.c of libvirt 9.0.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from culvert.domain import (
    addresses,
    aliases,
    defaults,
    defaults_controllers,
    defaults_devices,
    pluggable,
    ports,
    validate,
    validate_disk,
)
from culvert.domain import parse as xml_parse
from culvert.domain.controller import Controller
from culvert.domain.definition import DomainDef
from culvert.domain.devices import Devices
from culvert.domain.disk import Disk, numbered
from culvert.domain.display import Graphics
from culvert.domain.interface import Interface
from culvert.domain.pluggable import PluggableKind
from culvert.drivers.qemu import attach as others
from culvert.drivers.qemu import card_change, impact, iotune, opening, plugs, screen, unplug
from culvert.drivers.qemu.command import command_device, command_disk, command_network
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
    if (kind := await apart.run(pluggable.kind_of, xml)) is not None:
        other = await apart.run(pluggable.read, kind, xml)
        await domain.host.carry_out(_attach_other(driver, domain, kind, other, flags), name=f"attach-{domain.name}")
        return
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


async def _attach_other(driver: Driver, domain: Domain, kind: PluggableKind, device: Any, flags: int) -> None:
    async with domain.changing("attach a device to"):
        about = impact.impact(domain, flags)
        if about.config:  # refused before anything is plugged in
            kept = domain.require_persistent()
            await apart.run(driver.accept, pluggable.added(kept, kind, device))
        if about.live:
            await others.plug(domain, domain.require_active(), kind, device)
        if about.config:
            await domain.change_persistent(lambda one: driver.accept(pluggable.added(one, kind, device)))


async def _detach_other(driver: Driver, domain: Domain, kind: PluggableKind, wanted: Any, flags: int) -> None:
    async with domain.changing("detach a device from"):
        about = impact.impact(domain, flags)
        if about.config:
            pluggable.find(domain.require_persistent(), kind, wanted)  # before anything is plugged out
        if about.live:
            run = domain.require_active()
            await unplug.unplug(domain, run, pluggable.find(run.definition, kind, wanted).alias or "")
        if about.config:
            await domain.change_persistent(
                lambda one: driver.accept(pluggable.removed(one, kind, pluggable.find(one, kind, wanted)))
            )


async def detach(driver: Driver, domain: Domain, xml: str, flags: int) -> None:
    """Plug out the device that ``xml`` names by its target, or a card by its address.

    A running guest that does not let go in time keeps it for now; event DEVICE_REMOVED tells when it has gone.
    Raises ``errors.DeviceMissing``.
    """
    if (kind := await apart.run(pluggable.kind_of, xml)) is not None:
        await _detach_other(driver, domain, kind, await apart.run(pluggable.read, kind, xml), flags)
        return
    wanted = await apart.run(xml_parse.parse_device, xml)
    async with domain.changing("detach a device from"):
        about = impact.impact(domain, flags)
        if about.config:
            assert domain.persistent is not None
            find(domain.persistent, wanted)  # before anything is plugged out
        if about.live:
            run = domain.require_active()
            found = find(run.definition, wanted)
            _check_pluggable(found, out=True)
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
        _check_pluggable(found, out=True)
        await unplug.unplug(domain, run, alias)


async def update(driver: Driver, domain: Domain, xml: str, flags: int, *, force: bool) -> None:
    """Change a device: the medium of a cdrom drive, a card's link, limits and network, or a screen's password at
    once, anything for the next start.

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
            if isinstance(live, Interface) and isinstance(wanted, Interface):
                await _change_card(domain, run, live, await apart.run(completed, wanted))
            elif not isinstance(live, Disk) or not isinstance(wanted, Disk) or not live.is_removable:
                raise errors.OperationUnsupported(
                    "only the medium of a cdrom drive, a network card and a screen's password can be changed live"
                )
            else:
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


PLUGGED = frozenset({"virtio", "scsi", "usb"})  # buses whose disks come and go while the guest runs


def _check_pluggable(device: Any, *, out: bool = False) -> None:
    """Source: qemuDomainAttachDeviceDiskLiveInternal, qemuDomainDetachPrepDisk; their words."""
    if not isinstance(device, Disk) or (device.bus in PLUGGED and not device.is_floppy):
        return
    if out:
        raise errors.OperationUnsupported("This type of disk cannot be hot unplugged")
    raise errors.OperationUnsupported(f"disk bus '{device.bus}' cannot be hotplugged.")


def grown(definition: DomainDef, device: Device) -> tuple[DomainDef, Device]:
    """The running ``definition`` with the completed ``device`` in its place, and that device; pure.

    What no start would take is refused here too: the guest could neither be migrated nor saved any more, for its
    definition is completed anew at the other end. Raises as ``attach``.
    """
    _check_pluggable(device)
    placed, device = _seated(definition, device)
    named = _named(placed, device)
    held: tuple[Device, ...] = (*definition.devices.disks, *definition.devices.interfaces)
    before = {one.alias for one in held}
    wanted = added(placed, named)
    if named.alias in before:
        raise errors.OperationFailed(f"domain '{definition.name}' has a device with alias '{named.alias}' already")
    defaults.check_boot(wanted)
    ports.assign(wanted.devices)  # for what it refuses: all have their places
    if isinstance(named, Disk):
        validate_disk.check_among(wanted, named)
    validate.check_grown(definition, wanted)
    placed = addresses.plug(wanted)
    placed = replace(placed, devices=replace(placed.devices, controllers=_aliased(placed)))
    both: tuple[Device, ...] = (*placed.devices.disks, *placed.devices.interfaces)
    return placed, next(one for one in both if one.alias not in before)


def _seated(definition: DomainDef, device: Device) -> tuple[DomainDef, Device]:
    """``device`` on its place where that is not PCI, and ``definition`` with the SCSI controllers that this takes, of
    the model of those that are there (qemuDomainFindOrCreateSCSIDiskController)."""
    if not isinstance(device, Disk) or device.bus not in ("scsi", "usb"):
        return definition, device
    devices = definition.devices
    one_more = ports.assign(replace(devices, disks=(*devices.disks, device)))
    if len(one_more.hubs) > len(devices.hubs):
        raise errors.ConfigUnsupported(f"unsupported configuration: no USB port is free for '{device.target.dev}'")
    models = [one.model for one in devices.controllers if one.type == "scsi"]
    held = tuple(
        replace(one, model=one.model or models[0]) if one.type == "scsi" and models else one
        for one in one_more.controllers
    )
    completed = defaults_controllers.with_scsi_models(replace(devices, controllers=held))
    return replace(definition, devices=completed), one_more.disks[-1]


def _aliased(definition: DomainDef) -> tuple[Controller, ...]:
    """The controllers, those that have just come with their names."""
    return tuple(
        one if one.alias or one.type != "scsi" else replace(one, alias=f"scsi{one.index}")
        for one in definition.devices.controllers
    )


async def _plug_controllers(domain: Domain, run: Run, whole: DomainDef) -> None:
    there = {(one.type, one.index) for one in run.definition.devices.controllers}
    for one in whole.devices.controllers:
        if (one.type, one.index) in there:
            continue
        await _run(domain, command_device.one_controller(whole, one), _nothing_to_undo)
        held = run.definition.devices
        devices = replace(held, controllers=(*held.controllers, one))
        run.definition = replace(run.definition, devices=devices)


async def _nothing_to_undo() -> None:
    return


async def _plug(domain: Domain, run: Run, device: Device) -> None:
    if isinstance(device, Disk):
        device = await opening.disk(domain.host, device)
    whole, new = await apart.run(grown, run.definition, device)
    await _plug_controllers(domain, run, whole)
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
        alias = device.alias or aliases.of_disk(device, devices)
        return numbered(replace(device, alias=alias), _next_index(devices))
    taken = {card.alias for card in devices.interfaces}
    number = next(number for number in range(len(taken) + 1) if f"net{number}" not in taken)
    return replace(device, alias=device.alias or f"net{number}")


def _next_index(devices: Devices) -> int:
    return max((index for disk in devices.disks for index in disk.indexes), default=0) + 1


async def _plug_disk(domain: Domain, definition: DomainDef, disk: Disk) -> None:
    argv = command_disk.one_disk(definition, disk, disk.boot)

    async def undo() -> None:
        await unplug.remove_nodes(domain, disk)

    await _give_passwords(domain, disk)
    await _run(domain, argv, undo)
    if disk.iotune is not None and not disk.is_empty:
        try:
            await iotune.apply(domain, disk, disk.iotune)
        except BaseException:
            with contextlib.suppress(errors.RequestError):
                await domain.monitor.execute("device_del", {"id": disk.alias})
            raise


async def _give_passwords(domain: Domain, disk: Disk) -> None:
    """As objects of QEMU; those that are given are taken back by ``unplug.remove_nodes``."""
    try:
        for name, value in opening.passwords(domain.host, disk).items():
            data = base64.b64encode(value).decode("ascii")
            told = {"qom-type": "secret", "id": name, "data": data, "format": "base64"}
            await domain.monitor.execute("object-add", told)
    except BaseException:
        await unplug.remove_nodes(domain, disk)
        raise


async def _plug_card(domain: Domain, definition: DomainDef, card: Interface) -> Interface:
    networks = domain.host.networks
    chosen = await plugs.choose(networks, domain.owner, card)
    try:
        plugged = await plugs.plug(domain.owner, chosen)
    except BaseException:
        await plugs.unplug(networks, domain.name, chosen)
        raise
    if plugged.helper is not None:
        domain.host.spawn(plugs.watch(domain.name, card, plugged.helper), name=f"passt-{domain.name}")
    try:
        taps = await _send(domain, f"fd-{card.alias}", plugged.taps)
        vhosts = await _send(domain, f"vhostfd-{card.alias}", plugged.vhosts)
        new = plugged.card
        argv = [*command_network.netdev(new, taps, vhosts), *command_network.card(definition, new, new.boot)]
        await _run(domain, argv, lambda: unplug.remove_netdev(domain, new))
        if new.link == "down":
            await domain.monitor.execute("set_link", {"name": new.alias, "up": False})
    except BaseException:
        await plugs.unplug(networks, domain.name, plugged.card)
        raise
    finally:
        await asyncio.to_thread(plugged.close)
    return new


async def _send(domain: Domain, name: str, fds: tuple[int, ...]) -> list[str]:
    """QEMU gets the descriptors; by what names it knows them."""
    names = [f"{name}{number or ''}" for number in range(len(fds))]
    for each, fd in zip(names, fds, strict=True):
        await domain.monitor.send_fd(each, fd)
    return names


async def _run(domain: Domain, argv: list[str], undo: Callable[[], Awaitable[None]]) -> None:
    """Carry out arguments of the command line one after the other; all of them, or ``undo``."""
    try:
        for flag, text in zip(argv[::2], argv[1::2], strict=True):
            await domain.monitor.execute(COMMANDS[flag], json.loads(text))
    except BaseException:
        await undo()
        raise


async def _change_card(domain: Domain, run: Run, live: Interface, wanted: Device) -> None:
    assert isinstance(wanted, Interface)
    new = await card_change.change(domain, live, wanted)
    cards = tuple(new if card.alias == live.alias else card for card in run.definition.devices.interfaces)
    run.definition = replace(run.definition, devices=replace(run.definition.devices, interfaces=cards))
    await domain.persist()


async def _change_medium(domain: Domain, run: Run, drive: Disk, wanted: Disk, *, force: bool) -> None:
    """Take the old medium out of a drive and put the new one in."""
    monitor, alias = domain.monitor, drive.alias or ""
    new = replace(
        drive,
        type=wanted.type,
        source=None if wanted.is_empty else wanted.source,
        backing_store=wanted.backing_store,
        driver=wanted.driver or drive.driver,
    )
    completed = defaults_devices.complete_disk(numbered(new, _next_index(run.definition.devices)))
    validate.check_device(completed)  # before the old medium is gone
    completed = numbered(await opening.disk(domain.host, completed), _next_index(run.definition.devices))
    await monitor.execute("blockdev-open-tray", {"id": alias, "force": force})
    if not drive.is_empty:
        await monitor.execute("blockdev-remove-medium", {"id": alias})
        await unplug.remove_nodes(domain, drive)
    empty = replace(drive, source=None, backing_store=None)
    try:
        if not completed.is_empty:
            await _give_passwords(domain, completed)
            await _run(domain, command_disk.image(completed), lambda: unplug.remove_nodes(domain, completed))
            node = command_disk.node_names(completed)[0]
            await monitor.execute("blockdev-insert-medium", {"id": alias, "node-name": node})
            empty = completed
        await monitor.execute("blockdev-close-tray", {"id": alias})
    finally:
        disks = tuple(empty if disk.alias == alias else disk for disk in run.definition.devices.disks)
        run.definition = replace(run.definition, devices=replace(run.definition.devices, disks=disks))
        await domain.persist()
