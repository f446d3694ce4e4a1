"""``python -m tests.migration.explorer``: everything in ``settings``, and as many random walks as one likes."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from tests.migration.explorer import settings
from tests.migration.explorer.search import Model, explore, walk


def main(walks: int) -> None:
    """Prints a table. Ends with the way to the violation, when there is one."""
    print(f"{'':48}{'worlds':>10} {'moves':>10} {'depth':>6} {'settled':>8} {'seconds':>8}")
    for name, setting in (settings.QUICK | settings.DEEP).items():
        begun = time.monotonic()
        found = explore(Model(setting), limit=20_000_000)
        seconds = time.monotonic() - begun
        print(
            f"{name:48}{found.worlds:>10,} {found.moves:>10,} {found.depth:>6} {found.settled:>8,} {seconds:>8.1f}",
            flush=True,
        )
    begun = time.monotonic()
    steps = 0
    for seed in range(walks):
        setting = replace(settings.WALK, postcopy=seed % 2 == 1, direct=seed % 3 == 0, client=seed % 5 == 0)
        steps += walk(Model(setting), seed, 600)
    print(f"{walks:,} random walks, {steps:,} steps, {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
