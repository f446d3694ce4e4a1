"""``-device`` of disks, on the block nodes of their images (``command_source``). Source: qemu/qemu_command.c."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from culvert.domain.address import DriveAddress, PciAddress, UsbAddress
from culvert.domain.controller import SCSI_MODELS
from culvert.domain.definition import DomainDef
from culvert.domain.disk import BlockIo, Disk, DiskDriver, Geometry
from culvert.drivers.qemu.command import command_source
from culvert.drivers.qemu.command.command_source import CACHE_MODES, all_nodes, cache_mode, copying, image
from culvert.drivers.qemu.command.command_syntax import controller_alias, device, on_off, pci
from culvert.ground import errors

__all__ = ["all_nodes", "disks", "image", "node_names", "one_disk"]


def disks(
    definition: DomainDef, boot_order: dict[str, int], secret_fds: Mapping[str, int] | None = None
) -> list[str]:
    """All disks in order; ``boot_order``: alias → bootindex of those the guest boots from; ``secret_fds``: name of an
    object → the descriptor with its password."""
    argv = _floppy_controller(definition, boot_order)
    for disk in definition.devices.disks:
        argv += command_source.secret_objects(disk, secret_fds or {})
        argv += one_disk(definition, disk, boot_order.get(disk.alias or ""))
    return argv


def _floppy_controller(definition: DomainDef, boot_order: dict[str, int]) -> list[str]:
    """A pc has one, of which all that can be said is global; a q35 is given one where there are floppies."""
    floppies = [disk for disk in definition.devices.disks if disk.is_floppy]
    told = {
        f"bootindex{'AB'[disk.address.unit]}": boot_order[disk.alias or ""]
        for disk in floppies
        if isinstance(disk.address, DriveAddress) and (disk.alias or "") in boot_order
    }
    if definition.is_q35:
        return device({"driver": "isa-fdc", **told}) if floppies else []
    return [word for name, index in told.items() for word in ("-global", f"isa-fdc.{name}={index}")]


def one_disk(definition: DomainDef, disk: Disk, bootindex: int | None) -> list[str]:
    """``disk``, which has its names and its place in ``definition``: the image's nodes, then the device."""
    return [*image(disk), *_device(definition, disk, top_node(disk), bootindex)]


def drive(definition: DomainDef, disk: Disk) -> list[str]:
    """The device of ``disk`` alone, without a medium."""
    return _device(definition, disk, None, None)


def top_node(disk: Disk) -> str | None:
    """The node that the guest's device is on; None for an empty drive."""
    return None if disk.is_empty else copying(disk) or node_names(disk)[0]


def node_names(disk: Disk) -> tuple[str, str]:
    """The nodes of the medium's own image: its format, and what that is on."""
    return command_source.names(command_source.top_index(disk))


def _device(definition: DomainDef, disk: Disk, node: str | None, bootindex: int | None) -> list[str]:
    driver = disk.driver or DiskDriver()
    mode = cache_mode(driver)
    write_error = None if driver.error_policy in (None, "default") else driver.error_policy
    read_error = None if driver.rerror_policy in (None, "default") else driver.rerror_policy
    if read_error is None and write_error != "enospace":
        read_error = write_error
    blockio, geometry = disk.blockio or BlockIo(), disk.geometry or Geometry()
    # What the guest reads of a SCSI disk beside its serial number was once the name of QEMU's drive.
    identity = (disk.serial or f"drive-{disk.alias}") if disk.bus == "scsi" else None
    return device(
        {
            **_place(definition, disk),
            "device_id": identity,
            "share-rw": True if disk.shareable else None,
            "drive": node,
            "id": disk.alias,
            # A floppy drive has none: its controller knows.
            "bootindex": None if disk.is_floppy else bootindex,
            "logical_block_size": blockio.logical_block_size,
            "physical_block_size": blockio.physical_block_size,
            # A number in JSON; it is an error as text.
            "wwn": int(disk.wwn, 16) if disk.wwn and disk.bus != "virtio" else None,
            "rotation_rate": disk.target.rotation_rate,
            "vendor": disk.vendor,
            "product": disk.product,
            "removable": bool(disk.target.removable) if disk.bus == "usb" else None,
            "write-cache": on_off(CACHE_MODES[mode][2]) if mode and node else None,
            "cyls": geometry.cyls,
            "heads": geometry.heads,
            "secs": geometry.secs,
            "bios-chs-trans": geometry.trans,
            # With a backslash before each space, as libvirt writes it: the guest sees both.
            "serial": disk.serial.replace(" ", "\\ ") if disk.serial else None,
            "werror": "enospc" if write_error == "enospace" else write_error,
            "rerror": read_error,
        }
    )


def _place(definition: DomainDef, disk: Disk) -> dict[str, Any]:
    who = f"disk '{disk.target.dev}'"
    place = disk.address
    if disk.bus == "virtio":
        return _virtio(definition, disk, who)
    if disk.bus == "usb":
        if not isinstance(place, UsbAddress) or place.port is None:
            raise errors.InternalError(f"internal error: {who} has no USB address")
        bus = controller_alias(definition, "usb", place.bus, who)
        return {"driver": "usb-storage", "bus": f"{bus}.0", "port": place.port}
    if not isinstance(place, DriveAddress):
        raise errors.InternalError(f"internal error: {who} has no drive address")
    if disk.bus == "fdc":
        return {"driver": "floppy", "unit": place.unit}
    alias = controller_alias(definition, disk.bus, place.controller, who)
    if disk.bus == "scsi":
        return {"driver": "scsi-cd" if disk.is_cdrom else "scsi-hd", **_scsi(definition, place, alias)}
    kind = "ide-cd" if disk.is_cdrom else "ide-hd"
    if disk.bus == "ide":
        return {"driver": kind, "bus": f"{alias}.{place.bus}", "unit": place.unit}
    return {"driver": kind, "bus": f"{alias}.{place.unit}"}


def _virtio(definition: DomainDef, disk: Disk, who: str) -> dict[str, Any]:
    driver = disk.driver or DiskDriver()
    return {
        "driver": "virtio-blk-pci",
        "iommu_platform": driver.iommu,
        "ats": driver.ats,
        "packed": driver.packed,
        "page-per-vq": driver.page_per_vq,
        "iothread": f"iothread{driver.iothread}" if driver.iothread else None,
        "ioeventfd": driver.ioeventfd,
        "event_idx": driver.event_idx,
        "num-queues": driver.queues,
        "queue-size": driver.queue_size,
        **pci(definition, disk.address if isinstance(disk.address, PciAddress) else None, who),
    }


def _scsi(definition: DomainDef, place: DriveAddress, alias: str) -> dict[str, Any]:
    models = {one.index: one.model for one in definition.devices.controllers if one.type == "scsi"}
    if SCSI_MODELS.get(models.get(place.controller) or "", True):
        return {"bus": f"{alias}.{place.bus}", "scsi-id": place.unit}
    return {"bus": f"{alias}.0", "channel": place.bus, "scsi-id": place.target, "lun": place.unit}
