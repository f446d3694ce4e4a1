"""What a run measures, and in which order. Pure but for the measuring that a cell does when it is called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.lab import Lab

Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing that can be measured. ``stage``: what is made anew when it fails; ``most``: repeats at most."""

    suite: str
    case: str
    measure: Callable[[Lab], dict[str, float]]
    stage: str = ""
    most: int = 1000

    @property
    def name(self) -> str:
        """What ``--filter`` looks at."""
        return f"{self.suite}/{self.case}"


def chosen(cells: Sequence[Cell], words: Sequence[str]) -> list[Cell]:
    """The cells whose name contains one of ``words``, where a word's parts joined by ``+`` all have to be in it.

    All cells when there are no words. Raises ``ValueError`` for a word that no cell has.
    """
    found = []
    for word in words:
        matching = [cell for cell in cells if all(part in cell.name for part in word.split("+"))]
        if not matching:
            raise ValueError(f"nothing to measure is called {word!r}")
        found += matching
    return [cell for cell in cells if cell in found] if words else list(cells)


def order(cells: Sequence[Cell], repeats: int, done: Collection[Key]) -> Iterator[tuple[Cell, int]]:
    """Cell and repeat, what is done left out.

    Repeat by repeat, so that whatever slows the machine for a while meets all of them; and every repeat begins with
    another cell, so that nobody always comes after the same neighbour's mess.
    """
    for repeat in range(repeats):
        start = repeat * len(cells) // repeats if repeats else 0
        for cell in (*cells[start:], *cells[:start]):
            if repeat < cell.most and (cell.suite, cell.case, repeat) not in done:
                yield cell, repeat
