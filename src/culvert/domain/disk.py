"""``<disk>``: files and block devices on virtio, ide and sata buses, and in floppy drives.

Source: docs/formatdomain, "Hard drives, floppy disks, CDROMs"; conf/domain_conf.c for the order of output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain import address
from culvert.domain.binding import ANY, BLANK, DEFAULT, attribute, child, flag, leaf, lone, nested, variant
from culvert.domain.scalars import ANY_TEXT, PATH, UINT, Integer, Pattern, one_of
from culvert.ground import errors

# Prefix of the target name → the bus it stands for (virDiskNameToBusDeviceIndex, virDomainDiskDefaultBus).
BUS_OF_PREFIX = {"vd": "virtio", "hd": "ide", "sd": "scsi", "fd": "fdc"}

FORMATS = one_of("raw", "qcow2")
SERIAL = Pattern(r"[A-Za-z0-9_ .+-]{1,255}", "disk serial", refusal=errors.InternalError)
WWN = Pattern(r"(0x)?[0-9a-fA-F]{16}", "WWN of 16 hexadecimal digits", refusal=errors.InternalError)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskDriver:
    """How QEMU opens the image."""

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
    discard: Annotated[str | None, attribute("discard", one_of("unmap", "ignore"))] = None
    detect_zeroes: Annotated[str | None, attribute("detect_zeroes", one_of("off", "on", "unmap"))] = None
    queues: Annotated[int | None, attribute("queues", Integer(low=1, high=1024), silent=("0",))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSource:
    """The file (``type='file'``) or block device (``type='block'``); ``index`` numbers it in a running domain.

    A source without a file is an empty drive.
    """

    file: Annotated[str | None, attribute("file", PATH)] = None
    dev: Annotated[str | None, attribute("dev", PATH)] = None
    startup_policy: Annotated[str | None, attribute("startupPolicy", one_of("mandatory"))] = None
    index: Annotated[int | None, attribute("index", UINT)] = None


def _itself() -> type[BackingStore]:
    return BackingStore


@dataclass(frozen=True, slots=True, kw_only=True)
class BackingStore:
    """The image below another one. One without a type is the end of the chain."""

    type: Annotated[str | None, attribute("type", one_of("file", "block"))] = None
    index: Annotated[int | None, attribute("index", UINT)] = None
    format: Annotated[str | None, lone("format", "type", FORMATS)] = None
    source: Annotated[DiskSource | None, child("source", DiskSource, hollow=ANY)] = None
    backing_store: Annotated[BackingStore | None, nested("backingStore", _itself)] = None

    @property
    def path(self) -> str | None:
        """The file or block device."""
        return _path(self.type, self.source)


def _path(kind: str | None, source: DiskSource | None) -> str | None:
    if source is None:
        return None
    return source.dev if kind == "block" else source.file


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskTarget:
    """The name by which the guest's owner knows the disk, and its bus."""

    dev: Annotated[str, attribute("dev", Pattern(r"(vd|hd|sd|fd)[a-z]{1,3}", "disk target (vda, hdb, sdc …)"))]
    bus: Annotated[str | None, attribute("bus", one_of("virtio", "ide", "sata", "fdc"))] = None
    tray: Annotated[str | None, attribute("tray", one_of("closed", "open"))] = None

    @property
    def number(self) -> int:
        """Position of the target name among those of its prefix: vda 0, vdz 25, vdaa 26 (virDiskNameToIndex)."""
        number = 0
        for letter in self.dev[2:]:
            number = number * 26 + ord(letter) - ord("a") + 1
        return number - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk or cdrom drive. ``backing_store``: what the image stands on, whatever it says of that itself; an empty
    one: nothing. Without it the image decides.
    """

    type: Annotated[str, attribute("type", one_of("file", "block"))] = "file"
    device: Annotated[str | None, attribute("device", one_of("disk", "cdrom", "floppy"))] = None
    driver: Annotated[DiskDriver | None, child("driver", DiskDriver)] = None
    source: Annotated[DiskSource | None, child("source", DiskSource, hollow=ANY)] = None
    backing_store: Annotated[BackingStore | None, child("backingStore", BackingStore)] = None
    target: Annotated[DiskTarget, child("target", DiskTarget)]
    readonly: Annotated[bool, flag("readonly")] = False
    shareable: Annotated[bool, flag("shareable")] = False
    serial: Annotated[str | None, leaf("serial", SERIAL, silent=BLANK)] = None
    wwn: Annotated[str | None, leaf("wwn", WWN, silent=BLANK)] = None
    boot: Annotated[int | None, lone("boot", "order", Integer(low=1, high=2**31 - 1), needed=True)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.PciAddress | address.DriveAddress | None, variant("address", "type", address.DISK)] = (
        None
    )

    @property
    def path(self) -> str | None:
        """The file or block device; None for an empty drive."""
        return _path(self.type, self.source)

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
    if source is not None and disk.path is not None:
        source = replace(source, index=source.index or first)
    return replace(disk, source=source, backing_store=below(disk.backing_store, first + 1))


def unnumbered(disk: Disk) -> Disk:
    """``disk`` without the numbers of its images."""

    def below(store: BackingStore | None) -> BackingStore | None:
        return replace(store, index=None, backing_store=below(store.backing_store)) if store else None

    source = replace(disk.source, index=None) if disk.source else None
    return replace(disk, source=source, backing_store=below(disk.backing_store))
