"""A post-copy that is cut at random moments, in every way that network and daemons can fail: none is lost."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from guests import tiny
from tests.support import generation
from tests.support.culvert import culvert
from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest, running_tiny
from tests.support.proxy import Proxy
from tests.support.virsh import virsh
from tests.support.wait import wait_for
from tests.system.test_postcopy import FASTER, in_postcopy, state

pytestmark = generation.needs_postcopy

CUTS = int(os.environ.get("CUTS", "200"))
PER_MIGRATION = 20
LARGE = tiny.TinyParameters(mib=256, dirty_mib=8, dirty_mib_s=20, pass_s=0.2)


@dataclass(frozen=True, slots=True)
class Road:
    """``guest`` is on its way from ``source`` to ``destination`` by ``proxy``."""

    guest: RunningGuest
    source: DaemonProcess
    destination: DaemonProcess
    proxy: Proxy


def cut(road: Road) -> None:
    road.proxy.cut()


def silence(road: Road) -> None:
    road.proxy.refuse()
    road.proxy.cut()
    wait_for(lambda: "waiting for" in culvert("list", uri=road.source.uri).out, "the source says so")
    road.proxy.refuse(False)


def both(road: Road) -> None:
    for host in (road.source, road.destination):
        host.kill()
    for host in (road.destination, road.source):
        host.start()


KINDS: dict[str, Callable[[Road], object]] = {
    "cut": cut,
    "silent": silence,
    "source killed": lambda road: road.source.restart(kill=True),
    "source stopped": lambda road: road.source.restart(),
    "destination killed": lambda road: road.destination.restart(kill=True),
    "destination stopped": lambda road: road.destination.restart(),
    "both killed": both,
}


def goes_on(road: Road) -> bool:
    """QEMU sends pages again, by its own word and for two looks, or all has arrived meanwhile."""
    return not state(road.guest, road.source) or all("postcopy-active" in _asked(road) for _ in range(2))


def _asked(road: Road) -> str:
    return virsh("qemu-monitor-command", road.guest.name, '{"execute": "query-migrate"}', uri=road.source.uri).out


def cut_over_and_over(road: Road, route: str, dice: random.Random, most: int) -> int:
    """One post-copy, and ``most`` cuts in it: how many it was in time for."""
    where = f"{road.destination.uri_by(road.proxy.port)}?route={route}"
    with in_postcopy(road.guest, road.source, road.destination, where) as asked:
        for count in range(most):
            time.sleep(dice.choice((0.0, 0.01, 0.1)) * dice.random())
            kind = dice.choice(list(KINDS))
            print(f"{count + 1} of {most}: {kind}", flush=True)
            KINDS[kind](road)
            wait_for(lambda: goes_on(road), f"it has gone on after '{kind}'", 90)
            if not state(road.guest, road.source):
                return count
        virsh("migrate-setspeed", "--postcopy", road.guest.name, FASTER, uri=road.source.uri).expect()
        asked.finish()  # it may have lost the daemon that it asked
    return most


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.migration(reattach_seconds=1)
@pytest.mark.parametrize("route", ["pump", "direct"])
def test_at_random_moments(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, route: str) -> None:
    """Half of ``CUTS`` by each route; the seed is printed, and may be given (``SEED``)."""
    seed = os.environ.get("SEED", str(time.time_ns()))
    print(f"SEED={seed}")
    dice = random.Random(seed)
    left = CUTS // 2
    source, destination = host_a, host_b
    with running_tiny(host_a, folder, parameters=LARGE) as guest:
        while left:
            with Proxy(destination.port) as proxy:
                road = Road(guest, source, destination, proxy)
                left -= cut_over_and_over(road, route, dice, min(left, PER_MIGRATION))
                wait_for(lambda road=road: not state(road.guest, road.source), "the guest has left", 90)  # type: ignore[misc]
                guest.assert_runs_only_on(destination, source)
            source, destination = destination, source
