"""What libvirt refuses of a disk: rules of one disk, and of the disks of a domain together.

Source: conf/domain_validate.c (virDomainDiskDefValidate) and qemu/qemu_validate.c (qemuValidateDomainDeviceDefDisk
and below) of libvirt 9.0, in their words where they say all that there is to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import partial

from culvert.domain.controller import VIRTIO_SCSI
from culvert.domain.definition import DomainDef
from culvert.domain.disk import Disk, IoTune
from culvert.domain.disk_source import WEB, DiskSource
from culvert.domain.rule import Wrong
from culvert.ground import errors

DIRECT = frozenset({"none", "directsync"})  # cache modes that pass by the host's page cache
VENDOR_MOST, PRODUCT_MOST = 8, 16  # characters, of SCSI
TUNE_MOST = 1_000_000_000_000_000  # QEMU_BLOCK_IOTUNE_MAX
SHARED_FORMATS = frozenset({"raw"})
ONLY_VIRTIO = ("iommu", "ats", "packed", "page_per_vq")


def _driver(one: Disk, name: str) -> object:
    return getattr(one.driver, name) if one.driver else None


def _source(one: Disk) -> DiskSource:
    return one.source or DiskSource()


def _both(kind: str, tail: str, one: Disk) -> bool:
    tune = one.iotune
    if tune is None or getattr(tune, f"total_{kind}{tail}") is None:
        return False
    return any(getattr(tune, f"{way}_{kind}{tail}") is not None for way in ("read", "write"))


def _not_virtio(name: str, one: Disk) -> bool:
    return _driver(one, name) is not None and one.bus != "virtio"


def _limits(tune: IoTune) -> Iterator[int]:
    for one in fields(tune):
        value = getattr(tune, one.name)
        if isinstance(value, int) and not one.name.endswith("length"):
            yield value


def _no_secret(one: Disk) -> bool:
    return one.encrypted is not None and not one.encrypted.secrets


RULES: tuple[Wrong, ...] = (
    Wrong(
        lambda one: one.authentication is not None and one.type == "network" and _source(one).protocol == "nbd",
        "authentication is not supported for protocol 'nbd'",
    ),
    Wrong(
        lambda one: (
            one.type == "network"
            and one.authentication is not None
            and one.authentication.secret.type
            not in {"iscsi": ("iscsi",), "rbd": ("ceph",)}.get(_source(one).protocol or "", ("iscsi", "ceph", None))
        ),
        "invalid secret type of disk '{0.target.dev}'",
    ),
    *(
        Wrong(
            partial(_both, kind, tail),
            f"total and read/write {kind}{tail} cannot be set at the same time",
            errors.XMLError,
        )
        for tail in ("_sec", "_sec_max")
        for kind in ("bytes", "iops")
    ),
    Wrong(
        lambda one: one.model == "virtio" and one.bus != "virtio",
        "disk model '{0.model}' not supported for bus '{0.bus}'",
    ),
    Wrong(
        lambda one: _driver(one, "queues") is not None and one.bus != "virtio",
        "queues attribute in disk driver element is only supported by virtio-blk",
    ),
    Wrong(
        lambda one: _driver(one, "event_idx") is not None and one.bus != "virtio",
        "disk event_idx mode supported only for virtio bus",
    ),
    Wrong(
        lambda one: _driver(one, "ioeventfd") is not None and one.bus != "virtio",
        "disk ioeventfd mode supported only for virtio bus",
    ),
    *(
        Wrong(
            partial(_not_virtio, name),
            f"{name} driver option is only supported for virtio devices",
        )
        for name in ONLY_VIRTIO
    ),
    Wrong(
        lambda one: one.target.tray is not None and not one.is_removable,
        "tray is only valid for cdrom and floppy",
    ),
    Wrong(lambda one: not (one.vendor or "").isprintable(), "disk vendor is not printable string", errors.XMLError),
    Wrong(lambda one: len(one.vendor or "") > VENDOR_MOST, f"disk vendor is more than {VENDOR_MOST} characters"),
    Wrong(lambda one: not (one.product or "").isprintable(), "disk product is not printable string", errors.XMLError),
    Wrong(lambda one: len(one.product or "") > PRODUCT_MOST, f"disk product is more than {PRODUCT_MOST} characters"),
    Wrong(
        lambda one: one.target.removable is not None and one.bus != "usb",
        "removable is only valid for usb disks",
        errors.XMLError,
    ),
    Wrong(
        lambda one: _source(one).startup_policy is not None and one.type == "network",
        "disk startupPolicy '{0.source.startup_policy}' is not allowed for disk of '{0.type}' type",
        errors.XMLError,
    ),
    Wrong(
        lambda one: _source(one).startup_policy == "requisite" and not one.is_removable,
        "disk startupPolicy 'requisite' is allowed only for cdrom or floppy",
        errors.XMLError,
    ),
    Wrong(
        lambda one: one.device == "disk" and one.target.dev.startswith("fd"),
        "Invalid harddisk device name: {0.target.dev}",
        errors.InternalError,
    ),
    Wrong(
        lambda one: one.geometry is not None and one.bus == "usb",
        "CHS geometry can not be set for '{0.bus}' bus",
    ),
    Wrong(
        lambda one: one.geometry is not None and one.geometry.trans is not None and one.bus != "ide",
        "CHS translation mode can only be set for 'ide' bus not '{0.bus}'",
    ),
    Wrong(
        lambda one: _driver(one, "copy_on_read") and one.readonly and not one.is_removable,
        "copy_on_read is not compatible with read-only disk '{0.target.dev}'",
    ),
    Wrong(
        lambda one: _driver(one, "copy_on_read") and one.is_removable,
        "copy_on_read is not supported with removable disk '{0.target.dev}'",
    ),
    Wrong(lambda one: one.wwn is not None and one.bus not in ("ide", "scsi"), "Only ide and scsi disk support wwn"),
    Wrong(
        lambda one: (one.vendor or one.product) and one.bus != "scsi", "Only scsi disk supports vendor and product"
    ),
    Wrong(
        lambda one: one.target.rotation_rate is not None and one.bus not in ("scsi", "ide", "sata"),
        "rotation rate is only valid for SCSI/IDE/SATA bus",
        errors.InternalError,
    ),
    Wrong(
        lambda one: one.target.rotation_rate is not None and one.device != "disk",
        "rotation rate is only valid for disk device",
        errors.InternalError,
    ),
    Wrong(
        lambda one: one.readonly and one.device == "disk" and one.bus in ("ide", "sata"),
        "readonly {0.bus} disks are not supported",
    ),
    Wrong(
        lambda one: _driver(one, "io") == "native" and _driver(one, "cache") not in DIRECT,
        "io='native' needs either no disk cache or directsync cache mode",
    ),
    Wrong(
        lambda one: _driver(one, "iothread") is not None and one.bus != "virtio",
        "IOThreads not available for bus {0.bus} target {0.target.dev}",
    ),
    Wrong(
        lambda one: one.iotune is not None and one.iotune.group_name and not list(_limits(one.iotune)),
        "group_name can be configured only together with settings",
    ),
    Wrong(
        lambda one: one.iotune is not None and any(value > TUNE_MOST for value in _limits(one.iotune)),
        f"block I/O throttle limit must be no more than {TUNE_MOST} using QEMU",
        errors.ArgumentUnsupported,
    ),
    Wrong(
        lambda one: one.transient is not None,
        "/domain/devices/disk/transient of disk '{0.target.dev}' is not supported by culvert",
    ),
    Wrong(
        lambda one: one.shareable and not one.readonly and one.format not in SHARED_FORMATS,
        "shared access for disk '{0.target.dev}' requires use of supported storage format",
    ),
    Wrong(
        lambda one: (
            _source(one).ssl_verify is not None
            and (one.type != "network" or _source(one).protocol not in ("https", "ftps"))
        ),
        "ssl verification is supported only with HTTPS/FTPS protocol",
    ),
    Wrong(
        lambda one: _source(one).cookies is not None and _source(one).protocol not in ("http", "https"),
        "http cookies are supported only with HTTP(S) protocol",
    ),
    Wrong(
        lambda one: _source(one).readahead and _source(one).protocol not in WEB,
        "readahead is supported only with HTTP(S)/FTP(s) protocols",
    ),
    Wrong(
        lambda one: _source(one).timeout and _source(one).protocol not in WEB,
        "timeout is supported only with HTTP(S)/FTP(s) protocols",
    ),
    Wrong(
        lambda one: _source(one).query is not None and _source(one).protocol not in ("http", "https"),
        "query is supported only with HTTP(S) protocols",
    ),
    Wrong(
        lambda one: _driver(one, "metadata_cache") is not None and one.format != "qcow2" and one.type != "volume",
        "metadata cache max size control is supported only with qcow2 images",
    ),
    Wrong(
        lambda one: one.encrypted is not None and one.format not in ("raw", "qcow2"),
        "encryption is supported only with 'raw' and 'qcow2' image format",
    ),
    Wrong(_no_secret, "disk '{0.target.dev}': <encryption> names no <secret>", errors.XMLError),
    Wrong(
        lambda one: _source(one).tls_hostname is not None and _source(one).protocol != "nbd",
        "'tlsHostname' field is supported only with NBD disks",
    ),
    Wrong(
        lambda one: _source(one).tls,
        "/domain/devices/disk/source/@tls of disk '{0.target.dev}' is not supported by culvert",
    ),
    Wrong(
        lambda one: _is_drive(one) and one.bus != "scsi" and one.address.target,
        "disk '{0.target.dev}': the target of an address on bus '{0.bus}' is 0",
    ),
    Wrong(
        lambda one: any(layer.format is None for layer in one.layers),
        "disk '{0.target.dev}': a <backingStore> has no <format type='…'/>",
        errors.XMLError,
    ),
    Wrong(
        lambda one: any(layer.source is None or layer.source.is_empty(layer.type or "file") for layer in one.layers),
        "disk '{0.target.dev}': a <backingStore> has no <source> of its type",
        errors.XMLError,
    ),
    Wrong(
        lambda one: one.bus == "sata" and one.address is not None and one.address.bus,
        "disk '{0.target.dev}': the bus of an address on a sata controller is 0",
    ),
)


def _is_drive(one: Disk) -> bool:
    return one.bus in ("ide", "sata", "fdc") and one.address is not None


def check_whole(definition: DomainDef) -> None:
    """Raise ``errors.ConfigUnsupported`` where disks do not go together, or want a thread that is not there."""
    for disk in definition.devices.disks:
        check_among(definition, disk)
    known = {one.id for one in definition.io_threads}
    for one in definition.devices.controllers:
        thread = one.driver.iothread if one.model == VIRTIO_SCSI and one.driver else None
        if thread is not None and thread not in known:
            raise errors.ConfigUnsupported(
                f"unsupported configuration: iothread '{thread}' not defined in iothreadid"
            )


def check_among(definition: DomainDef, disk: Disk) -> None:
    """The same for one disk of ``definition``, or that comes to it."""
    thread = disk.driver.iothread if disk.driver else None
    if thread is not None and thread not in {one.id for one in definition.io_threads}:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: Disk iothread '{thread}' not defined in iothreadid"
        )
    group = disk.iotune.group_name if disk.iotune else None
    if group is None:
        return
    for other in definition.devices.disks:
        if other.target.dev == disk.target.dev or other.iotune is None or other.iotune.group_name != group:
            continue
        if other.iotune != disk.iotune:
            raise errors.ConfigUnsupported(
                f"unsupported configuration: different iotunes for disks {disk.target.dev} and {other.target.dev}"
            )
