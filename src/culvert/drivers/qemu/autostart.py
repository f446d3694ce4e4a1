"""Domains that start with the host: once in each of its boots, however often the daemon is started, or at its next
boot alone.

Source: util/virdomainobjlist and qemu/qemu_driver.c (qemuAutostartDomain) of libvirt 9.0: a failure is logged and the
next domain is tried. What libvirt does not have: a domain that has gone to another host by a migration stays there,
and one of which that is not known yet waits until it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from culvert.drivers.qemu import process, save
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.driver import Driver
from culvert.ground import errors
from culvert.io import files

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds between two looks whether a domain may be started now


async def set_autostart(domain: Domain, wanted: bool, *, once: bool = False) -> None:
    """Start it with the host, or no more; ``once``: at the next boot alone, beside what is said of every boot. On the
    disk on return. Raises ``errors.OperationInvalid``."""

    async def mark() -> None:
        async with domain.keeping:
            if not domain.is_persistent:
                raise errors.OperationInvalid(f"cannot set autostart for transient domain '{domain.name}'")
            await _mark(domain, wanted, once=once)

    await domain.host.carry_out(mark(), name=f"autostart-{domain.name}")


async def _mark(domain: Domain, wanted: bool, *, once: bool) -> None:
    """``domain.keeping`` is held."""
    if wanted is (domain.autostart_once if once else domain.autostart):
        return
    await asyncio.to_thread(domain.host.store.set_autostart, domain.name, wanted, once=once)
    if once:
        domain.autostart_once = wanted
    else:
        domain.autostart = wanted


async def run(driver: Driver) -> None:
    """Start those that are marked and do not run, by name; nothing when that has been done since the host's boot.

    Returns when there is none left of which it is not known whether it may run elsewhere.
    """
    await _take_over(driver)
    marker, boot = driver.layout.autostarted, process.boot_id()
    try:
        done = (await asyncio.to_thread(marker.read_text, encoding="ascii")).strip()
    except (OSError, ValueError):
        done = ""
    if done == boot:
        return
    try:
        await asyncio.to_thread(files.write_atomically, marker, boot + "\n")
    except errors.SystemCallError as err:
        log.error("domains are not started with the host reason=%r", err.message)
        return
    waiting = {domain: "" for domain in driver.domains() if domain.starts_with_host}
    while waiting and not driver.host.winding_up:
        for domain, told in tuple(waiting.items()):
            if not (obstacle := await _obstacle(driver, domain, told)):
                del waiting[domain]
                await driver.host.carry_out(_used(domain), name=f"autostart-{domain.name}")
            else:
                waiting[domain] = obstacle
        if waiting:
            await asyncio.sleep(PAUSE)


async def _used(domain: Domain) -> None:
    """This was the one boot that somebody has meant, whatever has come of it (virDomainDriverAutoStart)."""
    async with domain.keeping:
        try:
            await _mark(domain, False, once=True)
        except errors.SystemCallError as err:
            log.error("domain=%s will be started with the host once more reason=%r", domain.name, err.message)


async def _take_over(driver: Driver) -> None:
    """What an earlier culvert has kept in files of domains that have gone is the journal's word on return."""
    store, told = driver.host.store, ""
    while not driver.host.winding_up:
        try:
            for name, peer in (await asyncio.to_thread(store.markers)).items():
                # A transient domain that has gone leaves nothing that could be started.
                with contextlib.suppress(errors.NoDomain):
                    await driver.host.whereabouts.believe(name, driver.lookup_by_name(name).uuid, peer)
                try:
                    await asyncio.to_thread(store.remove_marker, name)
                except errors.SystemCallError as err:
                    log.error("domain=%s has gone, which is read at every start reason=%r", name, err.message)
            return
        except errors.RequestError as err:
            if err.message != told:
                log.error("domains are not started with the host until it is known which have gone: %s", err.message)
            told = err.message
        await asyncio.sleep(PAUSE)


async def _obstacle(driver: Driver, domain: Domain, told: str) -> str:
    """Start ``domain``, if it may be: empty. Else why it is not known yet whether it runs elsewhere; ``told``: what
    the log has already."""
    if driver.host.winding_up or domain.is_active or not domain.starts_with_host:
        return ""
    try:
        driver.host.may_start(domain.uuid)
    except errors.OperationInvalid as err:
        if err.message != told:
            log.info("domain=%s is not started with the host yet: %s", domain.name, err.message)
        return err.message
    try:
        gone_to = await driver.host.whereabouts.gone_to(domain.uuid)
    except errors.RequestError as err:
        if err.message != told:
            log.error("domain=%s is not started with the host: %s", domain.name, err.message)
        return err.message
    if gone_to:
        log.warning(
            "domain=%s is not started with the host: it has gone to %s; 'virsh start' starts it here all the same",
            *(domain.name, gone_to),
        )
        return ""
    log.info("domain=%s is started with the host", domain.name)
    try:
        # To its end, also when the daemon stops: half a start would have to be taken back.
        await driver.host.carry_out(save.start(driver, domain), name=f"autostart-{domain.name}")
    except errors.RequestError as err:
        log.error("domain=%s cannot be started with the host reason=%r", domain.name, err.message)
    return ""
