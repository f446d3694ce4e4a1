"""Guests that are bound to the connection which started them (VIR_DOMAIN_START_AUTODESTROY): they end when it does.

What binds a guest is kept with its run: a daemon that stops takes its connections along, and so these guests; one
that was killed has left them to the next one, which ends them. Source: include/libvirt/libvirt-domain.h of libvirt
9.0. A libvirtd that is killed forgets it instead, and the guest runs on.
"""

from __future__ import annotations

import logging

from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.driver import Driver
from culvert.hypervisor.leaving import BOUND
from culvert.protocol.constants_state import ShutoffReason, StoppedDetail

log = logging.getLogger(__name__)


def mark(connection: int) -> dict[str, str]:
    """What a run is to be annotated with that ends with the connection of that number."""
    return {BOUND: str(connection)}


def connection_ended(driver: Driver, connection: int) -> None:
    """End the guests that are bound to it, also while a job of theirs runs. A daemon that stops waits for that."""
    for domain in driver.domains():
        if _bound(domain, connection):
            driver.host.spawn(_destroy(domain, connection), name=f"autodestroy-{domain.name}", essential=True)


def _bound(domain: Domain, connection: int) -> bool:
    return domain.annotations.get(BOUND) == str(connection)


async def _destroy(domain: Domain, connection: int) -> None:
    if _bound(domain, connection):
        log.info("domain=%s is destroyed: connection %d, to which it was bound, has ended", domain.name, connection)
        await domain.kill(ShutoffReason.DESTROYED, StoppedDetail.DESTROYED)
