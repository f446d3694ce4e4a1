"""A running guest into a file, and out of it: QEMU's migration with a file at the other end.

A save that fails or is cancelled leaves the guest as it was, and what stood at the file's place. A managed save image
is a file of the daemon's own, from which the domain's next start goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from culvert.domain import abi, validate
from culvert.domain import parse as xml_parse
from culvert.domain.definition import DomainDef
from culvert.drivers.qemu import launch, saved
from culvert.drivers.qemu.abilities.ability import Ability
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.driver import Driver
from culvert.drivers.qemu.monitor import Monitor, MonitorGone
from culvert.drivers.qemu.run import Run
from culvert.drivers.qemu.saved import Saved
from culvert.ground import errors
from culvert.hypervisor import leaving
from culvert.io import apart, files, page_cache
from culvert.protocol.constants_flag import XMLFlag
from culvert.protocol.constants_state import DomainState, PausedReason, RunningReason, ShutoffReason, StoppedDetail

log = logging.getLogger(__name__)

STREAM_TIMEOUT = 86400.0  # seconds; a save is as long as the memory is large
UNLIMITED = 2**63 - 1  # bytes per second
FD_NAME = "saved"


@dataclass(frozen=True, slots=True)
class SaveJob:
    """What the domain is busy with meanwhile."""

    description: str = "save"


async def save(
    domain: Domain,
    path: Path,
    *,
    xml: str | None = None,
    running: bool | None = None,
    bypass_cache: bool = False,
) -> None:
    """Put the guest into the file ``path`` and end it; the file is on the disk on return.

    ``xml``: a description to keep in the place of its own; ``running``: whether it is to run when it is restored,
    ``None`` for as it is now; ``bypass_cache``: see ``page_cache``. Raises ``errors.OperationInvalid``,
    ``errors.ConfigUnsupported`` for an ``xml`` with which the guest could not go on, ``errors.SystemCallError``, and
    QEMU's refusals.
    """
    await domain.host.carry_out(_save(domain, path, xml, running, bypass_cache), name=f"save-{domain.name}")


async def _save(domain: Domain, path: Path, xml: str | None, running: bool | None, bypass_cache: bool) -> None:
    async with domain.changing("save"):
        run = domain.require_active()
        leaving.check("save", domain.name, domain.state)
        if not domain.is_persistent and path == domain.host.layout.managed_save(domain.name):
            raise errors.OperationInvalid("cannot do managed save for transient domain")
        text = await domain.xml(XMLFlag.MIGRATABLE | XMLFlag.SECURE)
        if xml is not None:
            await apart.run(_replaced, text, xml)
            text = xml
        ran = domain.state is DomainState.RUNNING
        domain.job = SaveJob()
        try:
            async with _stopped(domain, run):
                runs = ran if running is None else running
                await _write(domain, path, text, running=runs, bypass_cache=bypass_cache)
                # Before the event of its end: who hears that asks whether there is an image, and asks once.
                if path == domain.host.layout.managed_save(domain.name):
                    await _note_image(domain, path)
        finally:
            domain.job = None
        await domain.kill(ShutoffReason.SAVED, StoppedDetail.SAVED)


async def _note_image(domain: Domain, path: Path) -> None:
    """The domain's next start goes on at ``path``. Raises ``errors.OperationInvalid``, without the image, when it has
    been undefined meanwhile: another domain of its name must not find it."""
    async with domain.keeping:
        if not domain.is_persistent:
            await asyncio.to_thread(files.remove, path)
            raise errors.OperationInvalid(f"domain '{domain.name}' was undefined while it was saved: it goes on")
        domain.has_managed_save = True


@contextlib.asynccontextmanager
async def _stopped(domain: Domain, run: Run) -> AsyncIterator[None]:
    """The guest stands still inside, and goes on as before when the inside raises."""
    ran = domain.state is DomainState.RUNNING
    run.stop_reason = PausedReason.SAVE
    try:
        if ran:
            await domain.monitor.execute("stop")
            leaving.check("save", domain.name, domain.state)  # it may have gone to sleep a moment ago
        yield
    except BaseException:
        if ran and domain.run is run and domain.state is DomainState.PAUSED:
            run.resume_reason = RunningReason.SAVE_CANCELED
            try:
                await domain.monitor.execute("cont")
            except errors.RequestError as err:
                log.warning("domain=%s stays paused after a save that failed reason=%r", domain.name, str(err))
        raise
    finally:
        run.stop_reason = None


async def _write(domain: Domain, path: Path, text: str, *, running: bool, bypass_cache: bool) -> None:
    saving = await asyncio.to_thread(saved.create, path, text, running=running)
    try:
        async with page_cache.kept_clear(saving.fd, wanted=bypass_cache):
            await stream(domain.monitor, domain, saving.fd, "migrate")
            await asyncio.to_thread(saved.complete, saving)
    except BaseException:
        with contextlib.suppress(errors.RequestError):
            await domain.monitor.execute("migrate_cancel")
        await asyncio.to_thread(saved.discard, saving)
        raise
    finally:
        os.close(saving.fd)


async def stream(monitor: Monitor, domain: Domain, fd: int, command: str) -> None:
    """Let QEMU write its state to ``fd``, or read it from there, to the end.

    Raises ``errors.OperationFailed`` with QEMU's words.
    """
    known = {item["capability"] for item in await monitor.execute("query-migrate-capabilities")}
    wanted = [{"capability": name, "state": name == "events"} for name in CAPABILITIES if name in known]
    await monitor.execute("migrate-set-capabilities", {"capabilities": wanted})
    await monitor.execute("migrate-set-parameters", {"max-bandwidth": UNLIMITED})
    async with _handed_over(monitor, domain, fd, command) as uri, monitor.events(["MIGRATION"]) as told:
        try:
            await monitor.execute(command, {"uri": uri})
            event = await told.get(STREAM_TIMEOUT, where=lambda event: event["data"]["status"] in SETTLED)
        except MonitorGone as err:
            raise await qemu_gone(domain, err) from err
    if event["data"]["status"] != "completed":
        why = (await monitor.execute("query-migrate")).get("error-desc", event["data"]["status"])
        raise errors.OperationFailed(f"domain '{domain.name}': its state cannot be passed on: {why}")


@contextlib.asynccontextmanager
async def _handed_over(monitor: Monitor, domain: Domain, fd: int, command: str) -> AsyncIterator[str]:
    """QEMU has the file, and begins where ``fd`` stands in it: by which URI.

    From 11 on it takes none by ``fd:`` ("migration to a file is not supported. Use file: instead"). By ``file:`` it
    looks for one that was opened to be written only, or to be read only (util/osdep.c, monitor/fds.c).
    """
    if Ability.MIGRATE_FILE not in domain.require_active().abilities:
        await monitor.send_fd(FD_NAME, fd)
        yield f"fd:{FD_NAME}"
        return
    way = os.O_WRONLY if command == "migrate" else os.O_RDONLY
    again = await asyncio.to_thread(os.open, f"/proc/self/fd/{fd}", way | os.O_CLOEXEC)
    try:
        number = await monitor.add_fd(again)
    finally:
        os.close(again)
    try:
        yield f"file:/dev/fdset/{number},offset={os.lseek(fd, 0, os.SEEK_CUR)}"
    finally:
        with contextlib.suppress(errors.RequestError):
            await monitor.execute("remove-fd", {"fdset-id": number})


async def qemu_gone(domain: Domain, cause: MonitorGone) -> errors.OperationFailed:
    """The error for a QEMU that ended while it wrote or read: with its last output, or with ``cause``."""
    output = (await domain.last_output()).strip()
    return errors.OperationFailed(f"domain '{domain.name}': QEMU ended: {output or cause}")


# What a migration before may have left switched on (qapi/migration.json); with a file only the events are of use.
CAPABILITIES = (
    *("events", "xbzrle", "auto-converge", "postcopy-ram", "compress", "pause-before-switchover"),
    *("late-block-activate", "multifd", "return-path", "zero-copy-send"),
)
SETTLED = frozenset({"completed", "failed", "cancelled"})


async def restore(
    driver: Driver,
    path: Path,
    *,
    xml: str | None = None,
    running: bool | None = None,
    bypass_cache: bool = False,
    annotations: Mapping[str, str] | None = None,
) -> Domain:
    """Start the guest that is in the file ``path``, which stays as it is; the guest goes on where it was saved.

    ``xml``, ``running`` and ``bypass_cache`` as for ``save``, ``annotations`` as for ``launch.start``.
    Raises ``errors.OperationFailed``, ``errors.SystemCallError``, ``errors.ConfigUnsupported``, and what a start
    raises; then nothing runs.
    """
    fd, found = await asyncio.to_thread(saved.open_saved, path)
    try:
        definition = await apart.run(lambda: driver.complete(_definition(found, xml)))
        async with driver.starting(definition, "restore") as domain:
            runs = found.running if running is None else running
            await _go_on(domain, definition, fd, running=runs, bypass_cache=bypass_cache, annotations=annotations)
    finally:
        os.close(fd)
    return domain


def _definition(found: Saved, xml: str | None) -> DomainDef:
    return xml_parse.parse(found.xml) if xml is None else _replaced(found.xml, xml)


def _replaced(kept: str, xml: str) -> DomainDef:
    """What ``xml`` says, with which the guest of ``kept`` can go on. Raises ``errors.ConfigUnsupported``, and for
    what no definition may say."""
    before, wanted = xml_parse.parse(kept), xml_parse.parse(xml)
    abi.check(before, wanted)
    validate.check_replaced(before, wanted)
    return wanted


async def _go_on(
    domain: Domain,
    definition: DomainDef,
    fd: int,
    *,
    running: bool,
    bypass_cache: bool,
    annotations: Mapping[str, str] | None = None,
) -> None:
    async def feed() -> None:
        async with page_cache.kept_clear(fd, wanted=bypass_cache, reading=True):
            await stream(domain.monitor, domain, fd, "migrate-incoming")

    await launch.restored(domain, definition, feed, paused=not running, annotations=annotations)


# Managed save


async def managed_save(domain: Domain, *, running: bool | None = None, bypass_cache: bool = False) -> None:
    """``save`` into the daemon's own file: the domain's next start goes on there."""
    path = domain.host.layout.managed_save(domain.name)
    await asyncio.to_thread(path.parent.mkdir, mode=0o700, exist_ok=True)
    await save(domain, path, running=running, bypass_cache=bypass_cache)


async def start(
    driver: Driver,
    domain: Domain,
    *,
    paused: bool = False,
    force_boot: bool = False,
    bypass_cache: bool = False,
    annotations: Mapping[str, str] | None = None,
) -> None:
    """Start a domain: where it was saved if it has an image, which is then gone; else, or with ``force_boot``, anew.
    ``annotations`` as for ``launch.start``, ``bypass_cache`` as for ``save``.

    An image from which the guest cannot go on is kept, and told of.
    """
    if force_boot:
        await remove(domain)
    if not domain.has_managed_save:
        await launch.start(domain, paused=paused, annotations=annotations)
        return
    if domain.is_active:
        raise errors.OperationInvalid(f"domain is already running: '{domain.name}'")
    path = domain.host.layout.managed_save(domain.name)
    try:
        fd, found = await asyncio.to_thread(saved.open_saved, path)
    except errors.OperationFailed as err:
        await asyncio.to_thread(files.set_aside, path, err)
        domain.has_managed_save = False
        await launch.start(domain, paused=paused, annotations=annotations)
        return
    try:
        async with domain.changing("start"):
            launch.check_startable(domain)
            definition = await apart.run(lambda: driver.complete(_definition(found, None)))
            try:
                running = found.running and not paused
                await _go_on(
                    domain, definition, fd, running=running, bypass_cache=bypass_cache, annotations=annotations
                )
            except errors.OperationFailed as err:
                raise errors.OperationFailed(f"{err} (start it with --force-boot to boot it anew)") from err
            await remove(domain)  # before anybody can save it again
    finally:
        os.close(fd)


async def remove(domain: Domain) -> None:
    """Forget the managed save image, if there is one."""
    if domain.has_managed_save:
        await asyncio.to_thread(files.remove, domain.host.layout.managed_save(domain.name))
        domain.has_managed_save = False


def managed_image(domain: Domain) -> Path:
    """The managed save image. Raises ``errors.OperationInvalid`` when there is none."""
    if not domain.has_managed_save:
        raise errors.OperationInvalid(f"domain '{domain.name}' does not have managed save image")
    return domain.host.layout.managed_save(domain.name)


async def describe(path: Path) -> str:
    """The XML in a file. Raises as ``saved.read``."""
    return (await asyncio.to_thread(saved.read, path)).xml


async def define(path: Path, xml: str, *, running: bool | None) -> None:
    """Put another description into a file. Raises ``errors.ConfigUnsupported``, and as ``saved.rewrite``."""
    found = await asyncio.to_thread(saved.read, path)
    await apart.run(_definition, found, xml)
    await asyncio.to_thread(saved.rewrite, path, xml, running=found.running if running is None else running)
