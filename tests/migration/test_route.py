"""Which route is taken, as a table."""

from __future__ import annotations

import pytest

from culvert.ground import errors
from culvert.migration import route
from culvert.migration.route import Route

CULVERT = frozenset({"attach", "direct", "outcome"})
OLDER = frozenset({"attach", "outcome"})

CHOICES = [
    ("stream", CULVERT, "tcp", Route.STREAM),
    ("direct", CULVERT, "tcp", Route.DIRECT),
    ("direct", CULVERT, "unix", Route.DIRECT),
    ("auto", CULVERT, "tcp", Route.DIRECT),
    ("auto", CULVERT, "tls", Route.STREAM),
    ("auto", OLDER, "tcp", Route.STREAM),
    ("auto", frozenset[str](), "tcp", Route.STREAM),
    ("stream", frozenset[str](), "tls", Route.STREAM),
]


@pytest.mark.parametrize(("wanted", "abilities", "transport", "chosen"), CHOICES)
def test_choice(wanted: str, abilities: frozenset[str], transport: str, chosen: Route) -> None:
    assert route.choose(wanted, abilities, transport) is chosen


@pytest.mark.parametrize(("abilities", "transport"), [(CULVERT, "tls"), (OLDER, "tcp"), (frozenset[str](), "unix")])
def test_direct_where_it_cannot_be_had_is_refused(abilities: frozenset[str], transport: str) -> None:
    with pytest.raises(errors.ArgumentUnsupported, match="direct"):
        route.choose("direct", abilities, transport)


def test_a_word_that_is_no_route_is_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match="pigeon"):
        route.choose("pigeon", CULVERT, "tcp")
