"""Every order of everything that can happen, up to a stated number of faults: nothing that must not be is ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from culvert.migration.handover.machine import MachineError
from tests.migration.explorer import settings
from tests.migration.explorer.defects import DEFECTS
from tests.migration.explorer.search import Found, Model, explore, walk
from tests.migration.explorer.world import Rules


@pytest.mark.parametrize("name", settings.QUICK)
def test_nothing_that_must_not_be(name: str, record_property: Callable[[str, object], None]) -> None:
    """One copy runs at most, the only whole one is never destroyed, all settles, the journals tell the truth."""
    found = explore(Model(settings.QUICK[name]))
    record_property("explored", str(found))  # plain text: it travels between processes
    print(f"{name}: {found}")
    # Far below these the exploration would have lost its way, and prove nothing.
    assert found.worlds > 15_000
    assert found.depth > 40
    assert found.settled > 100


@pytest.mark.parametrize("kind", ["pre-copy", "post-copy"])
def test_random_walks_beyond(kind: str) -> None:
    """Many faults, several attempts: then nothing breaks any more, and it settles."""
    steps = []
    for seed in range(1500):
        setting = replace(settings.WALK, postcopy=kind == "post-copy", direct=seed % 3 == 0, client=seed % 5 == 0)
        steps.append(walk(Model(setting), seed, 600))
    # Far below these the walks would have lost their way, and prove nothing.
    assert min(steps) > 3
    assert sum(steps) > 30 * len(steps)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name: str) -> None:
    defect = DEFECTS[name]
    rules = Rules()
    defect.seed(rules)
    with pytest.raises(Found, match=defect.found) as caught:
        explore(Model(defect.setting, rules))
    assert caught.value.data_path, "a way leads there"


def test_an_event_that_cannot_be_is_told_with_the_way_to_it() -> None:
    rules = Rules()
    del rules.source[next(key for key in rules.source if key[1].value == "sent")]
    with pytest.raises(Found, match="MachineError: source: 'sent' in 'perform3'") as caught:
        explore(Model(settings.QUICK["two faults"], rules))
    assert isinstance(caught.value.__cause__, MachineError)
    assert "source: QEMU: migrate" in caught.value.data_path
