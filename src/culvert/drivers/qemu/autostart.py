"""Domains that start with the host: once in each of its boots, however often the daemon is started.

Source: util/virdomainobjlist and qemu/qemu_driver.c (qemuAutostartDomain) of libvirt 9.0: a failure is logged and the
next domain is tried.
"""

from __future__ import annotations

import asyncio
import logging

from culvert.drivers.qemu import process, save, store
from culvert.drivers.qemu.driver import Driver
from culvert.ground import errors

log = logging.getLogger(__name__)


async def run(driver: Driver) -> None:
    """Start those that are marked and do not run, by name; nothing when that has been done since the host's boot."""
    marker, boot = driver.layout.autostarted, process.boot_id()
    try:
        done = (await asyncio.to_thread(marker.read_text, encoding="ascii")).strip()
    except (OSError, ValueError):
        done = ""
    if done == boot:
        return
    try:
        await asyncio.to_thread(store.write_atomically, marker, boot + "\n")
    except errors.SystemCallError as err:
        log.error("domains are not started with the host reason=%r", err.message)
        return
    for domain in driver.domains():
        if driver.host.winding_up:
            return
        if domain.autostart and not domain.is_active:
            log.info("domain=%s is started with the host", domain.name)
            try:
                # To its end, also when the daemon stops: half a start would have to be taken back.
                await driver.host.carry_out(save.start(driver, domain), name=f"autostart-{domain.name}")
            except errors.RequestError as err:
                log.error("domain=%s cannot be started with the host reason=%r", domain.name, err.message)
