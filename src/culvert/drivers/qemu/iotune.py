"""What a disk may do in a second: QEMU's throttle, by ``block_set_io_throttle``.

Source: qemu/qemu_driver.c (qemuDomainSetBlockIoTune), qemu/qemu_process.c (qemuProcessSetupDiskThrottlingBlockdev).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from culvert.domain.definition import DomainDef
from culvert.domain.disk import Disk, IoTune
from culvert.domain.validate_disk import TUNE_MOST
from culvert.drivers.qemu import impact
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.protocol.typed_params import Value

# QEMU's words → those of the definition.
LIMITS = {
    **{
        short: f"{way}_{kind}_sec"
        for kind, names in (("bytes", ("bps", "bps_rd", "bps_wr")), ("iops", ("iops", "iops_rd", "iops_wr")))
        for short, way in zip(names, ("total", "read", "write"), strict=True)
    },
}
BURSTS = {f"{short}_max": f"{name}_max" for short, name in LIMITS.items()}
WAYS = ("total", "read", "write")
FAMILIES = ("bytes_sec", "iops_sec", "bytes_sec_max", "iops_sec_max")
GROUP = "group_name"
NAMES = (
    *(f"{way}_{kind}_sec{tail}" for tail in ("", "_max") for kind in ("bytes", "iops") for way in WAYS),
    *("size_iops_sec", GROUP),
    *(f"{way}_{kind}_sec_max_length" for kind in ("bytes", "iops") for way in WAYS),
)
LENGTHS = {f"{short}_max_length": f"{name}_max_length" for short, name in LIMITS.items()}


def qom_path(disk: Disk) -> str:
    """What QEMU calls the device (qemuAssignDeviceDiskAlias)."""
    alias = disk.alias or ""
    return {
        "virtio": f"/machine/peripheral/{alias}/virtio-backend",
        "usb": f"/machine/peripheral/{alias}/{alias}.0/legacy[0]",
    }.get(disk.bus, alias)


def throttle(disk: Disk, tune: IoTune) -> dict[str, object]:
    """The arguments of the command."""
    told: dict[str, object] = {"id": qom_path(disk)}
    told |= {short: getattr(tune, name) or 0 for short, name in LIMITS.items()}
    told |= {short: value for short, name in BURSTS.items() if (value := getattr(tune, name))}
    if tune.size_iops_sec:
        told["iops_size"] = tune.size_iops_sec
    told |= {short: value for short, name in LENGTHS.items() if (value := getattr(tune, name))}
    if tune.group_name:
        told["group"] = tune.group_name
    return told


def current(tune: IoTune | None) -> dict[str, Value]:
    """All parameters of a disk, those that are not said by 0, in libvirt's order."""
    return {name: getattr(tune, name, None) or ("" if name == GROUP else 0) for name in NAMES}


def wanted(definition: DomainDef, disk: Disk, told: Mapping[str, Value]) -> IoTune | None:
    """What ``told`` makes of the limits of ``disk``: a family (total, read, write) is given as a whole, what is not
    given stays; a disk that comes into a group has that one's limits.

    Raises ``errors.InvalidArgument``, ``errors.ConfigUnsupported``, ``errors.ArgumentUnsupported``.
    """
    if any(isinstance(value, int) and value > TUNE_MOST for value in told.values()):
        raise errors.ArgumentUnsupported(f"block I/O throttle limit value must be no more than {TUNE_MOST}")
    for tail in FAMILIES:
        if told.get(f"total_{tail}") and (told.get(f"read_{tail}") or told.get(f"write_{tail}")):
            kind, _, rest = tail.partition("_")
            raise errors.InvalidArgument(f"total and read/write of {kind}_{rest} cannot be set at the same time")
    before = current(_before(definition, disk, told))
    new = dict(before)
    for tail in (*FAMILIES, *(f"{one}_length" for one in ("bytes_sec_max", "iops_sec_max"))):
        names = [f"{way}_{tail}" for way in WAYS]
        if any(name in told for name in names):
            new |= {name: told.get(name, 0) for name in names}
    new |= {name: told[name] for name in ("size_iops_sec", GROUP) if name in told}
    for way, kind in ((way, kind) for kind in ("bytes", "iops") for way in WAYS):
        name = f"{way}_{kind}_sec"
        if f"{name}_max_length" in told and before[f"{name}_max_length"] and not new[f"{name}_max_length"]:
            new[f"{name}_max_length"] = 1 if new[name] or new[f"{name}_max"] else 0
    _check(disk, new)
    kept = {name: value for name, value in new.items() if value}
    return IoTune(**kept) if kept.keys() - {GROUP} else None  # type: ignore[arg-type]  # a value of each name's type


def _before(definition: DomainDef, disk: Disk, told: Mapping[str, Value]) -> IoTune | None:
    group = told.get(GROUP)
    if group and not (disk.iotune and disk.iotune.group_name == group):
        for other in definition.devices.disks:
            if other.iotune is not None and other.iotune.group_name == group:
                return other.iotune
    return disk.iotune


def _check(disk: Disk, new: Mapping[str, Value]) -> None:
    for name in LIMITS.values():
        limit, most = new[name], new[f"{name}_max"]
        if most and not limit:
            raise errors.ConfigUnsupported(
                f"unsupported configuration: cannot reset '{name}' when '{name}_max' is set"
            )
        if most and limit and int(most) < int(limit):
            raise errors.ConfigUnsupported(
                f"unsupported configuration: value '{name}_max' cannot be smaller than '{name}'"
            )


def with_tune(definition: DomainDef, disk: Disk, tune: IoTune | None) -> DomainDef:
    """``definition`` with these limits for ``disk``, and for all of its group."""
    group = tune.group_name if tune else None

    def changed(one: Disk) -> Disk:
        same = group is not None and one.iotune is not None and one.iotune.group_name == group
        return replace(one, iotune=tune) if same or one.target.dev == disk.target.dev else one

    disks = tuple(changed(one) for one in definition.devices.disks)
    return replace(definition, devices=replace(definition.devices, disks=disks))


def find(definition: DomainDef, path: str, *, running: bool) -> Disk:
    """The disk of that target or source. Raises ``errors.InvalidArgument``."""
    for disk in definition.devices.disks:
        if path in (disk.target.dev, disk.path):
            return disk
    where = "not found in domain" if running else "was not found in the domain config"
    raise errors.InvalidArgument(f"disk '{path}' {where}")


async def change(domain: Domain, path: str, told: Mapping[str, Value], flags: int) -> None:
    """Hold a disk to other limits, in the running guest, for its next start, or both; event TUNABLE.

    Raises as ``wanted``, and as ``impact.impact``.
    """
    async with domain.changing("set disk limits of"):
        about = impact.impact(domain, flags)
        if about.config:
            kept = domain.require_persistent()
            wanted(kept, find(kept, path, running=False), told)  # refused before anything is changed
        if about.live:
            run = domain.require_active()
            disk = find(run.definition, path, running=True)
            tune = wanted(run.definition, disk, told)
            if not disk.is_empty:
                await apply(domain, disk, tune or IoTune())
            run.definition = with_tune(run.definition, disk, tune)
            await domain.persist()
        if about.config:

            def changed(definition: DomainDef) -> DomainDef:
                disk = find(definition, path, running=False)
                return with_tune(definition, disk, wanted(definition, disk, told))

            await domain.change_persistent(changed)


async def apply(domain: Domain, disk: Disk, tune: IoTune) -> None:
    """Hold ``disk`` of the running guest to ``tune``. Raises as ``Monitor.execute``."""
    await domain.monitor.execute("block_set_io_throttle", throttle(disk, tune))


async def as_defined(domain: Domain, definition: DomainDef) -> None:
    """The same for all disks that have limits, but for empty drives."""
    for disk in definition.devices.disks:
        if disk.iotune is not None and not disk.is_empty:
            await apply(domain, disk, disk.iotune)
