"""Snapshots inside the images of a guest: taken, gone back to, deleted.

Of a running guest by QEMU's jobs (``snapshot-save`` and its like, qapi/migration.json), which have its memory too; of
one that does not run by ``qemu-img``. Source: qemu/qemu_snapshot.c of libvirt 9.0.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid as uuids
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from culvert.domain import aliases
from culvert.domain import snapshot as snapshot_xml
from culvert.domain.definition import DomainDef
from culvert.domain.disk import Disk
from culvert.domain.snapshot import PAUSED, RUNNING, SHUTOFF, Snapshot
from culvert.drivers.qemu import launch, opening, standing
from culvert.drivers.qemu.command import command_disk
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.driver import Driver
from culvert.drivers.qemu.monitor import Monitor
from culvert.drivers.qemu.run import Run
from culvert.drivers.qemu.snapshots import in_images
from culvert.ground import errors
from culvert.hypervisor import leaving
from culvert.io import apart, command
from culvert.protocol.constants_state import (
    DefinedDetail,
    DomainEvent,
    DomainState,
    ShutoffReason,
    StoppedDetail,
)

log = logging.getLogger(__name__)

# VIR_DOMAIN_SNAPSHOT_CREATE_*
REDEFINE, CURRENT, NO_METADATA, HALT, DISK_ONLY, REUSE_EXT, QUIESCE, ATOMIC, LIVE, VALIDATE = (
    1 << bit for bit in range(10)
)
# VIR_DOMAIN_SNAPSHOT_REVERT_* and …_DELETE_*
REVERT_RUNNING, REVERT_PAUSED, FORCE, RESET_NVRAM = 1, 2, 4, 8
CHILDREN, METADATA_ONLY, CHILDREN_ONLY = 1, 2, 4

JOB_TIMEOUT = 86400.0  # seconds; a snapshot is as long as the memory is large
IMAGE_TIMEOUT = 600.0  # seconds for qemu-img, which writes tables


async def create(driver: Driver, domain: Domain, text: str, flags: int) -> Snapshot:
    """Take a snapshot, or, with REDEFINE, note one that the images have already.

    Raises ``errors.XMLError``, ``errors.ConfigUnsupported``, ``errors.OperationInvalid``,
    ``errors.OperationUnsupported``, and QEMU's refusals; the guest goes on as before then.
    """
    _check_flags(domain, flags)
    wanted = await apart.run(lambda: snapshot_xml.parse(text, redefine=bool(flags & REDEFINE)))
    if wanted.head.name is not None and not flags & NO_METADATA:
        snapshot_xml.check_name(wanted.head.name)
    return await domain.host.carry_out(_create(domain, wanted, flags), name=f"snapshot-{domain.name}")


def _check_flags(domain: Domain, flags: int) -> None:
    if flags & QUIESCE and not flags & DISK_ONLY:
        raise errors.InvalidArgument(
            "flag 'VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY'"
        )
    if flags & DISK_ONLY and not flags & REDEFINE:
        raise errors.ConfigUnsupported("disk-only snapshots are external, which are not supported by culvert")
    if flags & LIVE:
        raise errors.OperationUnsupported("live snapshot creation is supported only during full system snapshots")
    if flags & HALT and not domain.is_persistent:
        raise errors.OperationInvalid("cannot halt after transient domain snapshot")


async def _create(domain: Domain, wanted: Snapshot, flags: int) -> Snapshot:
    async with domain.changing("take a snapshot of"):
        if flags & REDEFINE:
            return await _redefine(domain, wanted, current=bool(flags & CURRENT))
        return await _take(domain, wanted, flags)


async def _redefine(domain: Domain, wanted: Snapshot, *, current: bool) -> Snapshot:
    held = domain.snapshots
    snapshot_xml.check_redefined(wanted, held.held, str(domain.uuid), domain.name)
    if wanted.is_external:
        raise errors.ConfigUnsupported("external snapshots are not supported by culvert")
    await held.keep(wanted, current=current)
    return wanted


async def _take(domain: Domain, wanted: Snapshot, flags: int) -> Snapshot:
    state = _state(domain)
    runs = domain.as_it_runs
    snapshot = snapshot_xml.made(
        wanted,
        domain.definition,
        state=state,
        now=int(time.time()),
        parent=domain.snapshots.current,
        inactive=domain.persistent if domain.is_active else None,
        cpu=runs.cpu,
    )
    if snapshot.name in domain.snapshots.held and not flags & NO_METADATA:
        raise errors.OperationFailed(f"domain moment {snapshot.name} already exists")
    if not flags & NO_METADATA:
        snapshot_xml.check_name(snapshot.name)
    if snapshot.is_live:
        await _take_live(domain, snapshot)
    else:
        await _in_each(domain, snapshot, "-c")
    if not flags & NO_METADATA:
        await domain.snapshots.keep(snapshot, current=True)
    if flags & HALT and domain.is_active:
        await domain.kill(ShutoffReason.FROM_SNAPSHOT, StoppedDetail.FROM_SNAPSHOT)
    return snapshot


def _state(domain: Domain) -> str:
    """In a snapshot's words. Raises ``errors.OperationUnsupported`` for a guest that sleeps."""
    if not domain.is_active:
        return SHUTOFF
    if domain.state is DomainState.PMSUSPENDED:
        raise errors.OperationUnsupported("qemu doesn't support taking snapshots of PMSUSPENDED guests")
    return RUNNING if domain.state is DomainState.RUNNING else PAUSED


async def _take_live(domain: Domain, snapshot: Snapshot) -> None:
    run = domain.require_active()
    leaving.check("take a snapshot of", domain.name, domain.state)
    reasons = await domain.hypervisor.blocked_reasons()
    if reasons:
        raise errors.OperationInvalid(f"cannot save domain '{domain.name}': {'; '.join(reasons)}")
    nodes = [node for _, node in _nodes(run, in_images(snapshot))]
    async with standing.still(domain, run):
        told = {"tag": snapshot.name, "vmstate": nodes[0], "devices": nodes}
        await _job(domain.monitor, "snapshot-save", told)


def _nodes(run: Run, targets: Iterable[str]) -> list[tuple[Disk, str]]:
    wanted = set(targets)
    return [
        (disk, command_disk.node_names(disk)[0])
        for disk in run.definition.devices.disks
        if disk.target.dev in wanted and not disk.is_empty
    ]


async def _job(monitor: Monitor, what: str, told: Mapping[str, object]) -> None:
    """Have QEMU do it, to the end. Raises ``errors.OperationFailed`` with its words."""
    name = f"{what}-{uuids.uuid4().hex[:12]}"
    async with monitor.events(["JOB_STATUS_CHANGE"]) as changes:
        await monitor.execute(what, {"job-id": name, **told})
        await changes.get(
            JOB_TIMEOUT,
            where=lambda event: event["data"]["id"] == name and event["data"]["status"] in ("concluded", "null"),
        )
    jobs = await monitor.execute("query-jobs")
    error = next((job.get("error") for job in jobs if job["id"] == name), None)
    with contextlib.suppress(errors.RequestError):
        await monitor.execute("job-dismiss", {"id": name})
    if error:
        raise errors.OperationFailed(f"{what}: {error}")


async def _in_each(domain: Domain, snapshot: Snapshot, how: str, *, skip: bool = False) -> None:
    """``qemu-img snapshot`` for the images of a guest that does not run; a new one is in all of them or in none.

    ``skip``: an image that does not have it is told of in the log, and the others follow.
    """
    definition = snapshot.definition or domain.definition
    wanted = set(in_images(snapshot))
    disks = [disk for disk in definition.devices.disks if disk.target.dev in wanted and not disk.is_empty]
    done: list[str] = []
    for disk in disks:
        located = await opening.located_disk(domain.host, disk)
        path = located.path or ""
        try:
            if located.format != "qcow2":
                raise errors.OperationInvalid(f"Disk device '{disk.target.dev}' does not support snapshotting")
            await command.run(["qemu-img", "snapshot", how, snapshot.name, path], timeout=IMAGE_TIMEOUT)
        except errors.RequestError as err:
            if skip:
                log.warning("domain=%s snapshot=%s disk=%s reason=%r", domain.name, snapshot.name, path, err.message)
                continue
            if how == "-c":
                for other in done:
                    with contextlib.suppress(errors.RequestError):
                        words = ["qemu-img", "snapshot", "-d", snapshot.name, other]
                        await command.run(words, timeout=IMAGE_TIMEOUT)
            raise
        done.append(path)


# back


async def revert(driver: Driver, domain: Domain, name: str, flags: int) -> None:
    """Go back to a snapshot: the guest runs, stands still or is off as it was then, or as ``flags`` say.

    Events STOPPED, STARTED, SUSPENDED, DEFINED, from snapshot. Raises ``errors.NoDomainSnapshot``,
    ``errors.SnapshotRevertRisky``, ``errors.OperationInvalid``, and what a start raises.
    """
    if flags & REVERT_RUNNING and flags & REVERT_PAUSED:
        raise errors.InvalidArgument(
            "Flags 'VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING' and 'VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED' are mutually"
            " exclusive"
        )
    await domain.host.carry_out(_revert(driver, domain, name, flags), name=f"revert-{domain.name}")


async def _revert(driver: Driver, domain: Domain, name: str, flags: int) -> None:
    async with domain.changing("revert"):
        snapshot = domain.snapshots.find(name)
        _check_revert(domain, snapshot, flags)
        assert snapshot.definition is not None
        definition = await _named(driver, domain, snapshot.definition)
        inactive = await _named(driver, domain, snapshot.inactive or snapshot.definition)
        domain.host.may_start(domain.uuid)
        if domain.is_active:
            await domain.kill(ShutoffReason.FROM_SNAPSHOT, StoppedDetail.FROM_SNAPSHOT)
        if snapshot.is_live:
            await _define(domain, inactive)
            paused = not flags & REVERT_RUNNING and (snapshot.state == PAUSED or bool(flags & REVERT_PAUSED))
            await launch.reverted(domain, definition, _loader(domain, snapshot), paused=paused)
        else:
            await _in_each(domain, snapshot, "-a")
            await _define(domain, inactive)
            if flags & (REVERT_RUNNING | REVERT_PAUSED):
                await launch.reverted(domain, definition, None, paused=bool(flags & REVERT_PAUSED))
        await domain.snapshots.set_current(name)
        if domain.is_persistent:
            domain.emit(DomainEvent.DEFINED, DefinedDetail.FROM_SNAPSHOT)


def _check_revert(domain: Domain, snapshot: Snapshot, flags: int) -> None:
    if not domain.is_persistent and not snapshot.is_live and not flags & (REVERT_RUNNING | REVERT_PAUSED):
        raise errors.OperationInvalid("transient domain needs to request run or pause to revert to inactive snapshot")
    if snapshot.is_external:
        raise errors.ConfigUnsupported("revert to external snapshot not supported yet")
    if snapshot.definition is None:
        raise errors.SnapshotRevertRisky(f"snapshot '{snapshot.name}' lacks domain '{domain.name}' rollback info")
    if domain.has_managed_save and not snapshot.is_live and not flags & FORCE:
        raise errors.SnapshotRevertRisky(
            "snapshot without memory state, removal of existing managed saved state strongly recommended to avoid"
            " corruption"
        )


async def _named(driver: Driver, domain: Domain, definition: DomainDef) -> DomainDef:
    """By the domain's name of now. Raises as ``Driver.complete``."""
    return await apart.run(driver.complete, replace(definition, name=domain.name))


async def _define(domain: Domain, definition: DomainDef) -> None:
    if domain.is_persistent:
        await domain.change_persistent(lambda _: aliases.strip(definition))


def _loader(domain: Domain, snapshot: Snapshot) -> Callable[[], Awaitable[None]]:
    async def load() -> None:
        run = domain.require_active()
        nodes = [node for _, node in _nodes(run, in_images(snapshot))]
        vmstate = await _with_memory(domain.monitor, snapshot.name, nodes)
        await _job(domain.monitor, "snapshot-load", {"tag": snapshot.name, "vmstate": vmstate, "devices": nodes})

    return load


async def _with_memory(monitor: Monitor, tag: str, nodes: Sequence[str]) -> str:
    """The node whose image has the guest's memory. Raises ``errors.OperationFailed``."""
    for entry in await monitor.execute("query-named-block-nodes", {"flat": True}):
        for each in entry.get("image", {}).get("snapshots", ()):
            if entry["node-name"] in nodes and each["name"] == tag and each["vm-state-size"]:
                return str(entry["node-name"])
    raise errors.OperationFailed(f"no image of the domain has the memory of snapshot '{tag}'")


# away


async def delete(domain: Domain, name: str, flags: int) -> None:
    """Forget a snapshot, with what is below it, or that alone; METADATA_ONLY: the images keep it.

    Raises ``errors.NoDomainSnapshot``, ``errors.OperationUnsupported`` where the guest has another image by now.
    """
    await domain.host.carry_out(_delete(domain, name, flags), name=f"delete-snapshot-{domain.name}")


async def _delete(domain: Domain, name: str, flags: int) -> None:
    async with domain.changing("delete a snapshot of"):
        held = domain.snapshots
        snapshot = held.find(name)
        if not flags & METADATA_ONLY and domain.is_active:
            _check_images(domain.require_active().definition, snapshot)
        below = list(reversed(snapshot_xml.descendants(held.held, name)))
        gone = below if flags & (CHILDREN | CHILDREN_ONLY) else []
        for one in (*gone, *([] if flags & CHILDREN_ONLY else [name])):
            if not flags & METADATA_ONLY:
                await _discard(domain, held.held[one])
            await held.forget(one)


def _check_images(definition: DomainDef, snapshot: Snapshot) -> None:
    now = {disk.target.dev: disk for disk in definition.devices.disks}
    then = {disk.target.dev: disk for disk in (snapshot.definition or definition).devices.disks}
    for target in in_images(snapshot):
        if target not in now or target not in then or not _same_place(now[target], then[target]):
            raise errors.OperationUnsupported(
                f"disk image '{target}' for internal snapshot '{snapshot.name}' is not the same as disk image"
                " currently used by VM"
            )


def _same_place(now: Disk, then: Disk) -> bool:
    if now.type == "volume" and then.type == "volume" and now.source and then.source:
        return (now.source.pool, now.source.volume) == (then.source.pool, then.source.volume)
    return now.path == then.path


async def _discard(domain: Domain, snapshot: Snapshot) -> None:
    """Out of the images; libvirt goes on where that fails, and so is gone on here."""
    if not domain.is_active:
        await _in_each(domain, snapshot, "-d", skip=True)
        return
    run = domain.require_active()
    nodes = [node for _, node in _nodes(run, in_images(snapshot))]
    domain.job = standing.SnapshotJob()
    try:
        await _job(domain.monitor, "snapshot-delete", {"tag": snapshot.name, "devices": nodes})
    except errors.OperationFailed as err:
        log.warning("domain=%s snapshot=%s is not deleted reason=%r", domain.name, snapshot.name, err.message)
    finally:
        domain.job = None
