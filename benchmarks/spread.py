"""What several values of one figure say together. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """``quartiles``: the first and the third, by linear interpolation among the values themselves."""

    count: int
    median: float
    least: float
    most: float
    quartiles: tuple[float, float]

    @property
    def iqr(self) -> float:
        """The interquartile range."""
        return self.quartiles[1] - self.quartiles[0]

    def as_dict(self) -> dict[str, float]:
        """For the JSON."""
        return {"n": self.count, "median": self.median, "min": self.least, "max": self.most, "iqr": self.iqr}


def of(values: Sequence[float]) -> Spread:
    """The spread of at least one value. Raises ``ValueError`` for none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    quartiles = (ordered[0], ordered[0])
    if len(ordered) > 1:
        first, _, third = statistics.quantiles(ordered, n=4, method="inclusive")
        quartiles = first, third
    return Spread(len(ordered), statistics.median(ordered), ordered[0], ordered[-1], quartiles)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of ``values`` do not exceed: the nearest rank. Raises ``ValueError``."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
