"""Which channels there are, by their names and as wire 1 counts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.channels.plan import MAIN, PREEMPT, Channel, ChannelPlan
from culvert.ground import errors
from culvert.hypervisor.setup import Setup
from culvert.protocol.culvert import ChannelKind

PLANS = [
    (Setup(), ["memory-main"]),
    (Setup(connections=2), ["memory-main", "memory-multifd 1", "memory-multifd 2"]),
    (Setup(postcopy=True, preempt=True), ["memory-main", "memory-preempt"]),
    (Setup(connections=1, postcopy=True, preempt=True), ["memory-main", "memory-multifd 1", "memory-preempt"]),
]


@pytest.mark.parametrize(("setup", "names"), PLANS, ids=lambda value: value if isinstance(value, list) else "")
def test_the_channels_of_a_setup(setup: Setup, names: list[str]) -> None:
    plan = ChannelPlan.of(setup)
    assert [str(channel) for channel in plan] == names
    assert plan.is_single == (len(names) == 1)
    assert plan.at_once == tuple(channel for channel in plan if channel != PREEMPT)


@given(st.builds(Setup, connections=st.integers(0, 255), preempt=st.booleans()))
def test_wire_1_counts_them_from_the_main_one_on(setup: Setup) -> None:
    plan = ChannelPlan.of(setup)
    assert [plan.numbered(number, of="g") for number in range(len(plan))] == list(plan)
    assert all(plan.numbered(plan.number(channel), of="g") == channel for channel in plan)
    assert plan.number(MAIN) == 0
    assert all(channel in plan for channel in plan)
    for number in (-1, len(plan)):
        with pytest.raises(
            errors.InvalidStream, match=f"^g: channel .* not one of the {len(plan)} that were prepared"
        ):
            plan.numbered(number, of="g")


@given(st.sampled_from(ChannelKind), st.from_regex(r"\A[A-Za-z0-9_-]{0,64}\Z"))
def test_a_channel_is_what_its_words_say(kind: ChannelKind, name: str) -> None:
    assert Channel.parse(kind.value, name) == Channel(kind, name)


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("memory", "", "kind 'memory' is not one of memory-main, memory-multifd, memory-preempt, disk, control"),
        ("", "", "is not one of"),
        ("disk", "a.b", "cannot be named 'a.b'"),
        ("disk", "x" * 65, "cannot be named"),
        ("disk", "\n", "cannot be named"),
    ],
)
def test_what_is_no_channel(kind: str, name: str, told: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=told):
        Channel.parse(kind, name)
