"""The bars of the worst case. Pure. A cell is what one guest does over one link; every mode is measured in it."""

from __future__ import annotations

from benchmarks import modes, recovery
from benchmarks.bars import Bar, Medians
from benchmarks.links import LINKS

_GRID = [f"{link.name}/{rate.name}/" for link in LINKS for rate in modes.RATES]
_MODERATE = [f"{link.name}/{rate}/" for link in LINKS for rate in modes.MODERATE]
_OURS = [mode.name for mode in modes.MODES if mode.stage == "culvert"]
WITHIN = 0.25


def _tried(m: Medians, cells: list[str], mode: str) -> list[str]:
    """Those of ``cells`` that this mode was measured in. Raises ``KeyError`` when there is none."""
    found = [cell for cell in cells if m.failed("worst", cell + mode) or m.has("worst", cell + mode)]
    if not found:
        raise KeyError(mode)
    return found


def arrived(m: Medians, case: str) -> bool:
    """Whether the guest got there, each time it was tried."""
    return m.has("worst", case) and not m.failed("worst", case) and m.of("worst", case, "arrived") == 1


def _auto_lost(m: Medians) -> float:
    return sum(not arrived(m, cell + modes.AUTO) for cell in _tried(m, _GRID, modes.AUTO))


def _auto_blackout(m: Medians) -> float:
    """The worst ratio to the best of the other modes that arrive in the cell; without end when the guest does not."""
    worst = 0.0
    for cell in _tried(m, _GRID, modes.AUTO):
        if not arrived(m, cell + modes.AUTO):
            return float("inf")
        others = [
            m.of("worst", cell + mode.name, "blackout_ms")
            for mode in modes.MODES
            if mode.name != modes.AUTO and arrived(m, cell + mode.name)
        ]
        if others:
            worst = max(worst, m.of("worst", cell + modes.AUTO, "blackout_ms") / min(others))
    if not worst:
        raise KeyError("no cell with another mode to compare with")
    return worst


def _post_copy_blackout(m: Medians) -> float:
    cells = _tried(m, [cell for cell in _GRID if cell.startswith("1g/")], modes.POST_COPY)
    return max(
        m.of("worst", cell + modes.POST_COPY, "blackout_ms") if arrived(m, cell + modes.POST_COPY) else float("inf")
        for cell in cells
    )


def _foretold(m: Medians) -> float:
    """The share of culvert's moves that arrived whose total was foretold; without a word about it, it was not."""
    cases = [cell + mode for cell in _MODERATE for mode in _OURS if arrived(m, cell + mode)]
    off = [m.of("worst", case, "predicted_off") for case in cases if m.has("worst", case, "predicted_off")]
    if not off:
        raise KeyError("nothing was foretold")
    return sum(each <= WITHIN for each in off) / len(cases)


def _recovered(m: Medians) -> float:
    """The fewest cuts that a guest has arrived after, of all routes; none where one of them lost it."""
    return min(0.0 if m.failed("recovery", route) else m.of("recovery", route, "cuts") for route in recovery.ROUTES)


BARS = (
    Bar("--auto: cells in which the guest does not arrive", 0, _auto_lost),
    Bar("--auto: blackout / that of the best other mode, in the worst cell", 1.5, _auto_blackout),
    Bar("post-copy: blackout over 1 Gbit/s, whatever the guest does", 300, _post_copy_blackout, "ms"),
    Bar(
        f"total foretold within {WITHIN:.0%} from the second round on: share of the idle and moderate moves",
        0.9,
        _foretold,
        at_least=True,
    ),
    Bar("post-copy: cuts in one move that the guest arrives after", recovery.CUTS, _recovered, at_least=True),
)
