"""Which route is taken, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from culvert.channels import route
from culvert.channels.route import Route
from culvert.ground import errors

CULVERT = frozenset({"attach", "direct", "outcome", "pump"})
OLDER = frozenset({"attach", "direct", "outcome"})
LIBVIRT = frozenset[str]()

CHOICES = [
    ("stream", CULVERT, "tcp", {}, Route.STREAM),
    ("stream", LIBVIRT, "tls", {}, Route.STREAM),
    ("direct", CULVERT, "tcp", {}, Route.DIRECT),
    ("direct", CULVERT, "unix", {}, Route.DIRECT),
    ("pump", CULVERT, "tcp", {}, Route.PUMP),
    ("pump", CULVERT, "tls", {"connections": 8, "compression": "on"}, Route.PUMP),
    ("auto", CULVERT, "tcp", {}, Route.DIRECT),
    ("auto", CULVERT, "tcp", {"connections": 2}, Route.PUMP),
    ("auto", CULVERT, "tcp", {"compression": "auto"}, Route.PUMP),
    ("auto", CULVERT, "tls", {}, Route.PUMP),
    ("auto", OLDER, "tcp", {}, Route.DIRECT),
    ("auto", OLDER, "tls", {}, Route.STREAM),
    ("auto", LIBVIRT, "tcp", {}, Route.STREAM),
    ("auto", CULVERT, "tcp", {"postcopy": True}, Route.PUMP),
    ("auto", OLDER, "tcp", {"postcopy": True}, Route.DIRECT),
    ("direct", CULVERT, "tcp", {"postcopy": True}, Route.DIRECT),
    ("auto", CULVERT, "ssh", {}, Route.STREAM),
    ("auto", LIBVIRT, "ssh", {}, Route.STREAM),
    ("auto", CULVERT, "ssh", {"connections": 2}, Route.PUMP),
    ("auto", CULVERT, "ssh", {"postcopy": True}, Route.PUMP),
    ("auto", CULVERT, "ssh", {"compression": "auto"}, Route.PUMP),
    ("pump", CULVERT, "ssh", {}, Route.PUMP),
]


@pytest.mark.parametrize(("wanted", "abilities", "transport", "more", "chosen"), CHOICES)
def test_choice(wanted: str, abilities: frozenset[str], transport: str, more: dict[str, Any], chosen: Route) -> None:
    found = route.choose(wanted, abilities, transport, **more)
    assert found is chosen


REFUSALS = [
    ("direct", CULVERT, "tls", {}, "'direct' needs a connection without encryption"),
    ("direct", CULVERT, "ssh", {}, "'direct' needs a connection without encryption"),
    ("direct", LIBVIRT, "unix", {}, "'direct' needs a culvert"),
    ("direct", CULVERT, "tcp", {"connections": 2}, "'direct' needs a single channel"),
    ("direct", CULVERT, "tcp", {"compression": "on"}, "'direct' needs compression off"),
    ("pump", OLDER, "tcp", {}, "'pump' needs a culvert that knows it"),
    (
        "stream",
        CULVERT,
        "tcp",
        {"connections": 2, "compression": "on"},
        "'stream' needs a single channel and compression off",
    ),
    ("stream", CULVERT, "tcp", {"postcopy": True}, "'stream' needs no post-copy"),
    ("auto", LIBVIRT, "tcp", {"postcopy": True}, "no post-copy .*; the other end is no culvert"),
    (
        "auto",
        LIBVIRT,
        "tcp",
        {"connections": 2},
        "a single channel; the other end is no culvert that has another route",
    ),
]


@pytest.mark.parametrize(("wanted", "abilities", "transport", "more", "words"), REFUSALS)
def test_what_cannot_be_had_is_refused_with_the_reason(
    wanted: str, abilities: frozenset[str], transport: str, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(errors.ArgumentUnsupported, match=words):
        route.choose(wanted, abilities, transport, **more)


def test_a_word_that_is_no_route_is_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match="pigeon"):
        route.choose("pigeon", CULVERT, "tcp")


def test_a_word_that_is_no_compression_is_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match="perhaps"):
        route.choose("auto", CULVERT, "tcp", compression="perhaps")
