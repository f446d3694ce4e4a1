"""``<disk>``: images and devices of every kind on virtio, scsi, ide, sata and usb buses, and in floppy drives.

Source: docs/formatdomain, "Hard drives, floppy disks, CDROMs"; conf/domain_conf.c for the order of output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain import address
from culvert.domain.binding import ANY, BLANK, DEFAULT, attribute, child, content, flag, leaf, lone, variant
from culvert.domain.disk_source import FORMATS, TYPES, Auth, BackingStore, DiskSource, Encryption
from culvert.domain.scalars import (
    ANY_TEXT,
    ON_OFF,
    TEXT,
    UINT,
    ULONG,
    YES_NO,
    Integer,
    Pattern,
    one_of,
)
from culvert.ground import errors

# Prefix of the target name → the bus it stands for (virDiskNameToBusDeviceIndex, virDomainDiskDefaultBus).
BUS_OF_PREFIX = {"vd": "virtio", "hd": "ide", "sd": "scsi", "fd": "fdc"}

SERIAL = Pattern(r"[A-Za-z0-9_ .+-]{1,255}", "disk serial", refusal=errors.InternalError)
WWN = Pattern(r"(0x)?[0-9a-fA-F]{16}", "WWN of 16 hexadecimal digits", refusal=errors.InternalError)
ZERO = ("0",)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataCacheSize:
    """Bytes, in any unit."""

    unit: Annotated[str | None, attribute("unit", ANY_TEXT, silent=BLANK)] = None
    value: Annotated[int, content(ULONG)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataCache:
    """How much of a qcow2 image's tables QEMU keeps in memory."""

    max_size: Annotated[MetadataCacheSize | None, child("max_size", MetadataCacheSize)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskDriver:
    """How QEMU opens the image, and how the device does its work."""

    name: Annotated[str | None, attribute("name", one_of("qemu"))] = None
    type: Annotated[str | None, attribute("type", FORMATS)] = None
    cache: Annotated[
        str | None,
        attribute(
            "cache",
            one_of("default", "none", "writethrough", "writeback", "directsync", "unsafe"),
            silent=DEFAULT,
        ),
    ] = None
    error_policy: Annotated[
        str | None, attribute("error_policy", one_of("default", "stop", "report", "ignore", "enospace"))
    ] = None
    rerror_policy: Annotated[
        str | None, attribute("rerror_policy", one_of("default", "stop", "report", "ignore"))
    ] = None
    io: Annotated[str | None, attribute("io", one_of("native", "threads", "io_uring"))] = None
    ioeventfd: Annotated[bool | None, attribute("ioeventfd", ON_OFF)] = None
    event_idx: Annotated[bool | None, attribute("event_idx", ON_OFF)] = None
    copy_on_read: Annotated[bool | None, attribute("copy_on_read", ON_OFF)] = None
    discard: Annotated[str | None, attribute("discard", one_of("unmap", "ignore"))] = None
    iothread: Annotated[int | None, attribute("iothread", Integer(low=1, high=2**32 - 1))] = None
    detect_zeroes: Annotated[str | None, attribute("detect_zeroes", one_of("off", "on", "unmap"))] = None
    queues: Annotated[int | None, attribute("queues", Integer(low=1, high=1024), silent=ZERO)] = None
    queue_size: Annotated[int | None, attribute("queue_size", UINT, silent=ZERO)] = None
    iommu: Annotated[bool | None, attribute("iommu", ON_OFF)] = None
    ats: Annotated[bool | None, attribute("ats", ON_OFF)] = None
    packed: Annotated[bool | None, attribute("packed", ON_OFF)] = None
    page_per_vq: Annotated[bool | None, attribute("page_per_vq", ON_OFF)] = None
    metadata_cache: Annotated[MetadataCache | None, child("metadata_cache", MetadataCache, hollow="max_size")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Cylinders, heads and sectors, for guests that ask for them; all three or none."""

    cyls: Annotated[int | None, attribute("cyls", UINT, silent=ZERO)] = None
    heads: Annotated[int | None, attribute("heads", UINT, silent=ZERO)] = None
    secs: Annotated[int | None, attribute("secs", UINT, silent=ZERO)] = None
    trans: Annotated[str | None, attribute("trans", one_of("none", "auto", "lba"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockIo:
    """The sizes of blocks that the guest sees."""

    logical_block_size: Annotated[int | None, attribute("logical_block_size", UINT, silent=ZERO)] = None
    physical_block_size: Annotated[int | None, attribute("physical_block_size", UINT, silent=ZERO)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IoTune:
    """What a disk may do in a second, in a burst, and for how long that lasts; a group shares it."""

    total_bytes_sec: Annotated[int | None, leaf("total_bytes_sec", ULONG, silent=ZERO)] = None
    read_bytes_sec: Annotated[int | None, leaf("read_bytes_sec", ULONG, silent=ZERO)] = None
    write_bytes_sec: Annotated[int | None, leaf("write_bytes_sec", ULONG, silent=ZERO)] = None
    total_iops_sec: Annotated[int | None, leaf("total_iops_sec", ULONG, silent=ZERO)] = None
    read_iops_sec: Annotated[int | None, leaf("read_iops_sec", ULONG, silent=ZERO)] = None
    write_iops_sec: Annotated[int | None, leaf("write_iops_sec", ULONG, silent=ZERO)] = None
    total_bytes_sec_max: Annotated[int | None, leaf("total_bytes_sec_max", ULONG, silent=ZERO)] = None
    read_bytes_sec_max: Annotated[int | None, leaf("read_bytes_sec_max", ULONG, silent=ZERO)] = None
    write_bytes_sec_max: Annotated[int | None, leaf("write_bytes_sec_max", ULONG, silent=ZERO)] = None
    total_iops_sec_max: Annotated[int | None, leaf("total_iops_sec_max", ULONG, silent=ZERO)] = None
    read_iops_sec_max: Annotated[int | None, leaf("read_iops_sec_max", ULONG, silent=ZERO)] = None
    write_iops_sec_max: Annotated[int | None, leaf("write_iops_sec_max", ULONG, silent=ZERO)] = None
    size_iops_sec: Annotated[int | None, leaf("size_iops_sec", ULONG, silent=ZERO)] = None
    group_name: Annotated[str | None, leaf("group_name", ANY_TEXT, silent=BLANK)] = None
    total_bytes_sec_max_length: Annotated[int | None, leaf("total_bytes_sec_max_length", ULONG, silent=ZERO)] = None
    read_bytes_sec_max_length: Annotated[int | None, leaf("read_bytes_sec_max_length", ULONG, silent=ZERO)] = None
    write_bytes_sec_max_length: Annotated[int | None, leaf("write_bytes_sec_max_length", ULONG, silent=ZERO)] = None
    total_iops_sec_max_length: Annotated[int | None, leaf("total_iops_sec_max_length", ULONG, silent=ZERO)] = None
    read_iops_sec_max_length: Annotated[int | None, leaf("read_iops_sec_max_length", ULONG, silent=ZERO)] = None
    write_iops_sec_max_length: Annotated[int | None, leaf("write_iops_sec_max_length", ULONG, silent=ZERO)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskTarget:
    """The name by which the guest's owner knows the disk, and its bus."""

    dev: Annotated[str, attribute("dev", Pattern(r"(vd|hd|sd|fd)[a-z]{1,3}", "disk target (vda, hdb, sdc …)"))]
    bus: Annotated[str | None, attribute("bus", one_of("ide", "fdc", "scsi", "virtio", "usb", "sata"))] = None
    tray: Annotated[str | None, attribute("tray", one_of("closed", "open"))] = None
    removable: Annotated[bool | None, attribute("removable", ON_OFF)] = None
    rotation_rate: Annotated[int | None, attribute("rotation_rate", UINT, silent=ZERO)] = None

    @property
    def number(self) -> int:
        """Position of the target name among those of its prefix: vda 0, vdz 25, vdaa 26 (virDiskNameToIndex)."""
        number = 0
        for letter in self.dev[2:]:
            number = number * 26 + ord(letter) - ord("a") + 1
        return number - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Transient:
    """What the guest writes is gone when it ends."""

    share_backing: Annotated[bool | None, attribute("shareBacking", YES_NO)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk or cdrom drive. ``backing_store``: what the image stands on, whatever it says of that itself; an empty
    one: nothing. Without it the image decides. ``auth`` and ``encryption`` are those of the source, where they are
    written beside it.
    """

    type: Annotated[str, attribute("type", TYPES)] = "file"
    device: Annotated[str | None, attribute("device", one_of("disk", "cdrom", "floppy"))] = None
    model: Annotated[str | None, attribute("model", one_of("virtio"))] = None
    snapshot: Annotated[str | None, attribute("snapshot", one_of("no", "internal", "external"))] = None
    driver: Annotated[DiskDriver | None, child("driver", DiskDriver)] = None
    auth: Annotated[Auth | None, child("auth", Auth)] = None
    source: Annotated[DiskSource | None, child("source", DiskSource, hollow=ANY)] = None
    backing_store: Annotated[BackingStore | None, child("backingStore", BackingStore)] = None
    geometry: Annotated[Geometry | None, child("geometry", Geometry, hollow=ANY)] = None
    blockio: Annotated[BlockIo | None, child("blockio", BlockIo, hollow=ANY)] = None
    target: Annotated[DiskTarget, child("target", DiskTarget)]
    iotune: Annotated[IoTune | None, child("iotune", IoTune, hollow=ANY)] = None
    readonly: Annotated[bool, flag("readonly")] = False
    shareable: Annotated[bool, flag("shareable")] = False
    transient: Annotated[Transient | None, child("transient", Transient)] = None
    serial: Annotated[str | None, leaf("serial", SERIAL, silent=BLANK)] = None
    wwn: Annotated[str | None, leaf("wwn", WWN, silent=BLANK)] = None
    vendor: Annotated[str | None, leaf("vendor", TEXT, silent=BLANK)] = None
    product: Annotated[str | None, leaf("product", TEXT, silent=BLANK)] = None
    encryption: Annotated[Encryption | None, child("encryption", Encryption)] = None
    boot: Annotated[int | None, lone("boot", "order", Integer(low=1, high=2**31 - 1), needed=True)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[
        address.PciAddress | address.DriveAddress | address.UsbAddress | None,
        variant("address", "type", address.DISK),
    ] = None

    @property
    def path(self) -> str | None:
        """The file or block device, or what a server calls it; None for an empty drive and a volume not looked up."""
        return self.source.path(self.type) if self.source else None

    @property
    def is_empty(self) -> bool:
        """There is no medium."""
        return self.source is None or self.source.is_empty(self.type)

    @property
    def encrypted(self) -> Encryption | None:
        """How the image is encrypted, wherever that is written."""
        return self.encryption or (self.source.encryption if self.source else None)

    @property
    def authentication(self) -> Auth | None:
        """Who opens it, wherever that is written."""
        return self.auth or (self.source.auth if self.source else None)

    @property
    def layers(self) -> tuple[BackingStore, ...]:
        """The images below, as far as they are named, the upper one first."""
        found = []
        below = self.backing_store
        while below is not None and below.type is not None:
            found.append(below)
            below = below.backing_store
        return tuple(found)

    @property
    def indexes(self) -> tuple[int, ...]:
        """The numbers that its images have."""
        told = (self.source.index if self.source else None, *(layer.index for layer in self.layers))
        return tuple(index for index in told if index)

    @property
    def is_cdrom(self) -> bool:
        return self.device == "cdrom"

    @property
    def is_floppy(self) -> bool:
        return self.device == "floppy"

    @property
    def is_removable(self) -> bool:
        """The medium can be taken out, and need not be there."""
        return self.is_cdrom or self.is_floppy

    @property
    def format(self) -> str:
        """The image format; raw where nothing is said, never probed."""
        return (self.driver.type if self.driver else None) or "raw"

    @property
    def bus(self) -> str:
        """The bus, by the target's name where it is not said."""
        return self.target.bus or BUS_OF_PREFIX[self.target.dev[:2]]


def numbered(disk: Disk, first: int) -> Disk:
    """``disk`` with numbers from ``first`` on for its images that have none, the upper one first."""

    def below(store: BackingStore | None, number: int) -> BackingStore | None:
        if store is None or store.type is None:
            return store
        under = below(store.backing_store, number + 1)
        return replace(store, index=store.index or number, backing_store=under)

    source = disk.source
    if source is not None and not disk.is_empty:
        source = replace(source, index=source.index or first)
    return replace(disk, source=source, backing_store=below(disk.backing_store, first + 1))


def without_cookies(disk: Disk) -> Disk:
    """``disk`` without what is shown to web servers, a secret."""
    if disk.source is None or disk.source.cookies is None:
        return disk
    return replace(disk, source=replace(disk.source, cookies=None))


def as_told(disk: Disk) -> Disk:
    """``disk`` without what only the status of a run has: the place of its volume, who has named its images."""

    def below(store: BackingStore | None) -> BackingStore | None:
        return replace(store, detected=None, backing_store=below(store.backing_store)) if store else None

    source = disk.source
    if source is not None and disk.type == "volume" and (source.file or source.dev):
        source = replace(source, file=None, dev=None)
    if disk.backing_store is None and source is disk.source:
        return disk
    return replace(disk, source=source, backing_store=below(disk.backing_store))


def defined(disk: Disk) -> Disk:
    """``disk`` without what only a running domain has: numbers of its images, and images that nobody has named."""
    store = disk.backing_store
    if store is not None:
        store = _named(store)
    driver = disk.driver
    if driver is not None and driver.type is None and disk.is_empty:
        driver = replace(driver, type="raw")  # a drive whose medium is out
    if store is not disk.backing_store or driver is not disk.driver:
        disk = replace(disk, backing_store=store, driver=driver)
    return as_told(unnumbered(disk))


def _named(store: BackingStore) -> BackingStore | None:
    if store.detected:
        return None
    under = _named(store.backing_store) if store.backing_store else None
    return store if under is store.backing_store else replace(store, backing_store=under)


def unnumbered(disk: Disk) -> Disk:
    """``disk`` without the numbers of its images."""

    def below(store: BackingStore | None) -> BackingStore | None:
        return replace(store, index=None, backing_store=below(store.backing_store)) if store else None

    source = replace(disk.source, index=None) if disk.source else None
    return replace(disk, source=source, backing_store=below(disk.backing_store))
