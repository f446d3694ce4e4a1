"""The chooser: off where it does not pay, on where it clearly does, and never stuck with what was true once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.tunnel import compression
from culvert.tunnel.compression import Choice, Chooser, Sample, Second

SAMPLES = st.builds(Sample, ratio=st.floats(0.001, 1.2), speed=st.floats(1e5, 1e10))
SECONDS = st.builds(
    Second,
    seconds=st.floats(0.5, 3),
    blocked=st.floats(0, 1),
    busy=st.floats(0, 1),
    raw=st.integers(0, 10**10),
    wire=st.integers(0, 10**10),
    sample=st.none() | SAMPLES,
)


class World:
    """A link of ``link`` bytes per second, data that shrinks to ``ratio``, a processor that compresses ``speed``
    bytes per second and otherwise moves ``move``; QEMU writes ``offered``."""

    def __init__(self, *, link: float, ratio: float, speed: float, offered: float = 1e12, move: float = 2e9) -> None:
        self.link, self.ratio, self.speed, self.offered, self.move = link, ratio, speed, offered, move

    def rate(self, *, on: bool) -> float:
        """QEMU's bytes per second."""
        able = min(self.speed, self.link / min(self.ratio, 1.0)) if on else min(self.move, self.link)
        return min(able, self.offered)

    def second(self, choice: Choice) -> Second:
        on = choice is Choice.ON
        rate = self.rate(on=on)
        wire = rate * (min(self.ratio, 1.0) if on else 1.0)
        busy = min(1.0, rate / (self.speed if on else self.move))
        waits = wire >= self.link * 0.99
        sample = Sample(self.ratio, self.speed) if choice is not Choice.OFF else None
        return Second(1.0, 1.0 - busy if waits else 0.0, busy, int(rate), int(wire), sample)

    def run(self, chooser: Chooser, seconds: int) -> list[Choice]:
        """What is chosen, second after second."""
        choices = []
        for _ in range(seconds):
            choices.append(chooser.choice)
            chooser.next(self.second(chooser.choice))
        return choices


@given(st.lists(SECONDS))
def test_off_and_on_are_final(seconds: list[Second]) -> None:
    for mode, choice in (("off", Choice.OFF), ("on", Choice.ON)):
        chooser = Chooser(mode)
        assert all(chooser.next(second) is choice for second in seconds)


@given(st.lists(SECONDS))
def test_it_is_switched_on_only_where_the_network_is_waited_for(seconds: list[Second]) -> None:
    chooser = Chooser("auto")
    for second in seconds:
        before = chooser.choice
        if chooser.next(second) is Choice.ON and before is not Choice.ON:
            assert second.blocked >= compression.WAITING


def test_other_modes_are_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match="'always'"):
        Chooser("always")


@given(
    link=st.floats(1 * MiB, 4000 * MiB),
    ratio=st.floats(0.01, 1.1),
    speed=st.floats(50 * MiB, 2000 * MiB),
)
def test_it_settles_on_what_is_faster_whenever_that_is_clear(link: float, ratio: float, speed: float) -> None:
    world = World(link=link, ratio=ratio, speed=speed)
    on, off = world.rate(on=True), world.rate(on=False)
    choices = world.run(Chooser("auto"), 200)
    compressed = choices.count(Choice.ON)
    if on < off:
        assert compressed <= 40
    elif on > 2 * off and link < world.move / 2:
        assert compressed >= 150


def test_what_is_true_no_more_is_found_out() -> None:
    chooser = Chooser("auto")
    text = World(link=100 * MiB, ratio=0.2, speed=600 * MiB)
    assert text.run(chooser, 30)[-1] is Choice.ON
    assert World(link=100 * MiB, ratio=1.0, speed=600 * MiB).run(chooser, 30).count(Choice.ON) < 5
    assert text.run(chooser, 30)[-1] is Choice.ON
    wide = World(link=20_000 * MiB, ratio=0.2, speed=600 * MiB)  # the link is not what is waited for any more
    assert wide.run(chooser, 60)[-1] is Choice.OFF


def test_a_qemu_with_little_to_say_changes_nothing() -> None:
    quiet = World(link=100 * MiB, ratio=0.2, speed=600 * MiB, offered=1 * MiB)
    assert set(quiet.run(Chooser("auto"), 50)) == {Choice.OFF}
