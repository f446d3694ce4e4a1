"""Which ways of migrating go together, by version and by route."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.channels.plan import PREEMPT as PREEMPT_CHANNEL
from culvert.channels.plan import ChannelPlan
from culvert.channels.route import Route
from culvert.ground import errors
from culvert.migration.options import combinations
from culvert.migration.options.combinations import PREEMPT_ABILITY
from culvert.migration.options.parameters import Options
from culvert.protocol.constants_migrate import MigrateFlag as F

V7_1, V7_2, V9_0, V10_0, V10_1 = 7_001_000, 7_002_022, 9_000_000, 10_000_003, 10_001_000
LIVE = Options(flags=F.LIVE)
POSTCOPY = LIVE.with_flags(F.POSTCOPY)
PARALLEL = LIVE.with_flags(F.PARALLEL)

# (options, source's QEMU, destination's, route) → words of the refusal; none: it can be had.
TABLE = [
    (LIVE, V7_2, V7_2, Route.STREAM, ()),
    (POSTCOPY, V7_2, V7_2, Route.PUMP, ()),
    (POSTCOPY, V7_2, V7_2, Route.DIRECT, ()),
    (POSTCOPY, V7_2, 0, None, ()),
    (POSTCOPY, V7_2, V7_2, Route.STREAM, ("--postcopy and route stream", "one way only", "libvirtd")),
    (POSTCOPY.with_flags(F.AUTO_CONVERGE), V7_2, V7_2, Route.PUMP, ()),
    (POSTCOPY.with_flags(F.COMPRESSED), V7_2, V7_2, Route.PUMP, ()),
    (
        POSTCOPY.with_flags(F.PARALLEL),
        V7_2,
        V10_1,
        None,
        ("--parallel and --postcopy", "10.1", "7.2.22 at the source"),
    ),
    (POSTCOPY.with_flags(F.PARALLEL), V10_1, V10_0, None, ("10.0.3 at the destination",)),
    (replace(POSTCOPY, parallel_connections=3), V9_0, V9_0, None, ("source, QEMU 9.0.0 at the destination",)),
    (POSTCOPY.with_flags(F.PARALLEL), V10_1, V10_1, Route.PUMP, ()),
    (POSTCOPY.with_flags(F.PARALLEL), 0, 0, None, ()),
    (POSTCOPY.with_flags(F.PAUSED), V7_2, V7_2, None, ("--postcopy and --suspend",)),
    (POSTCOPY.without_flags(F.LIVE), V7_2, V7_2, None, ("non-live",)),
    (replace(POSTCOPY, preempt=True), V7_1, V7_2, None, ("preempt cannot be had: ", "7.2")),
    (replace(POSTCOPY, preempt=True), V7_2, V7_2, None, ()),
    (PARALLEL.with_flags(F.COMPRESSED), V7_2, V7_2, None, ("--parallel and xbzrle", "zlib or zstd")),
    (replace(PARALLEL, compression=("xbzrle",)), V7_2, V7_2, None, ("--parallel and xbzrle",)),
    (replace(PARALLEL, compression=("zstd",)), V7_2, V7_2, None, ()),
    (replace(LIVE, compression=("zstd",)), V7_2, V7_2, None, ("parallel connections",)),
    (replace(LIVE, compression=("zlib",)), V7_2, V7_2, None, ("parallel connections",)),
    (replace(PARALLEL, compression=("zlib", "zstd")), V7_2, V7_2, None, ("zlib and zstd",)),
]


@pytest.mark.parametrize(("options", "source", "destination", "route", "words"), TABLE)
def test_what_goes_together(
    options: Options, source: int, destination: int, route: Route | None, words: tuple[str, ...]
) -> None:
    if not words:
        combinations.check(options, source=source, destination=destination, route=route)
        return
    with pytest.raises(errors.ArgumentUnsupported) as refused:
        combinations.check(options, source=source, destination=destination, route=route)
    assert all(word in str(refused.value) for word in words), refused.value
    assert "nothing was changed" in str(refused.value)


PREEMPT = [
    (POSTCOPY, Route.PUMP, {PREEMPT_ABILITY}, (V7_2, V7_2), True),
    (POSTCOPY, Route.PUMP, {PREEMPT_ABILITY}, (V7_2, V7_1), False),
    (POSTCOPY, Route.PUMP, {PREEMPT_ABILITY}, (V7_1, V7_2), False),
    (POSTCOPY, Route.PUMP, {PREEMPT_ABILITY}, (V7_2, 0), False),
    (POSTCOPY, Route.PUMP, set[str](), (V7_2, V7_2), False),
    (POSTCOPY, Route.DIRECT, {PREEMPT_ABILITY}, (V7_2, V7_2), False),
    (LIVE, Route.PUMP, {PREEMPT_ABILITY}, (V7_2, V7_2), False),
]


@pytest.mark.parametrize(("options", "route", "abilities", "versions", "preempt"), PREEMPT)
def test_urgent_pages_have_their_own_channel_where_both_can(
    options: Options, route: Route, abilities: set[str], versions: tuple[int, int], preempt: bool
) -> None:
    source, destination = versions
    settled = combinations.agree(options, route, abilities, source=source, destination=destination)
    assert settled == replace(options, preempt=preempt)
    assert (PREEMPT_CHANNEL in ChannelPlan.of(settled.setup(return_path=True))) == preempt


@given(
    st.frozensets(st.sampled_from(sorted(set().union(*(rule.together for rule in combinations.RULES))))),
    st.sampled_from([V7_1, V7_2, V9_0, V10_0, V10_1]),
    st.sampled_from([V7_1, V7_2, V9_0, V10_0, V10_1]),
)
def test_a_newer_qemu_refuses_nothing_that_an_older_one_does(asked: frozenset[str], one: int, other: int) -> None:
    older, newer = sorted((one, other))
    refused = {len(combinations.refusals(asked, source=v, destination=v)) for v in (newer,)}
    assert max(refused) <= len(combinations.refusals(asked, source=older, destination=older))
    # Who asks for less is not refused for more.
    for feature in asked:
        assert len(combinations.refusals(asked - {feature}, source=older)) <= len(
            combinations.refusals(asked, source=older)
        )
