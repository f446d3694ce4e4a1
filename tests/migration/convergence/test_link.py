"""How a link is measured: against roads of a known rate, without a wait."""

from __future__ import annotations

import pytest

from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.migration.convergence import link


class Road:
    """Carries ``rate`` bytes a second, after ``there_and_back`` seconds; its clock is what it has taken so far."""

    def __init__(self, rate: float, there_and_back: float) -> None:
        self.rate = rate
        self.there_and_back = there_and_back
        self.now = 0.0
        self.carried = 0
        self._arrived = 0.0

    async def probe(self, data: bytes) -> None:
        self.carried += len(data)
        # One after the other goes into the road; all of a burst are under way at the same time.
        self._arrived = max(self._arrived, self.now if not data else self._arrived) + len(data) / self.rate
        if not data:
            self.now += self.there_and_back
            self._arrived = self.now
        else:
            self.now = max(self.now, self._arrived)


@pytest.mark.parametrize("rate", [1, 11, 110, 1100], ids=lambda rate: f"{rate} MiB/s")
@pytest.mark.parametrize("there_and_back", [0.0001, 0.05])
async def test_the_rate_and_the_way_there_and_back(rate: float, there_and_back: float) -> None:
    road = Road(rate * MiB, there_and_back)

    async def probe(data: bytes) -> None:
        await road.probe(data)

    def clock() -> float:
        return road.now

    found = await link.measure(probe, clock)
    assert found.round_trip == pytest.approx(there_and_back)
    assert found.rate >= 0.99 * rate * MiB
    assert road.carried <= 6 * MiB
    assert road.now < 1.0, "nobody waits long for it"


async def test_what_the_other_end_refuses_is_told() -> None:
    async def probe(data: bytes) -> None:
        raise errors.AccessDenied("not you")

    with pytest.raises(errors.AccessDenied):
        await link.measure(probe)
