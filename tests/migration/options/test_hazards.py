"""What is known to go wrong between versions of QEMU."""

from __future__ import annotations

import itertools

import pytest

from culvert.migration.options import combinations, hazards
from culvert.migration.options.parameters import Options


def at(text: str) -> int:
    major, minor, micro = (int(part) for part in text.split("."))
    return major * 1_000_000 + minor * 1_000 + micro


@pytest.mark.parametrize(
    ("source", "destination", "asked", "known"),
    [
        ("7.2.22", "10.0.13", {"--parallel"}, []),
        ("7.1.0", "9.2.0", {"--parallel"}, ["QEMU's issue 2720"]),
        ("7.1.0", "9.2.0", {"no --parallel"}, []),
        ("7.2.22", "10.1.1", set(), ["Debian's changelog of 10.1.2"]),
        ("7.2.22", "10.1.2", set(), []),
        ("10.0.1", "11.1.3", {"--parallel"}, ["Debian's changelog of 10.0.2"]),
        ("10.0.2", "11.1.3", {"--parallel"}, []),
        ("10.0.1", "11.1.3", {"--postcopy", "preempt"}, ["Debian's changelog of 10.0.2"]),
        ("10.0.13", "10.0.13", {"--postcopy", "qemu tls"}, ["GnuTLS's issue 1717; measured with 7.2 and 10.0"]),
        ("10.0.13", "11.1.3", {"--postcopy", "--parallel", "preempt"}, []),
        ("7.2.22", "7.2.22", set(), []),
        ("11.1.3", "10.0.13", {"--postcopy", "tcg"}, ["two QEMUs alone, 11.1.3 as the source"]),
        ("11.1.3", "11.1.3", {"--postcopy"}, []),
        ("10.0.13", "11.1.3", {"--postcopy", "tcg"}, []),
    ],
)
def test_what_is_known(source: str, destination: str, asked: set[str], known: list[str]) -> None:
    found = hazards.of(frozenset(asked), source=at(source), destination=at(destination))
    assert [each.known_by for each in found] == known


def test_an_unknown_version_is_no_hazard() -> None:
    everything = frozenset().union(*(each.when for each in hazards.HAZARDS))
    assert hazards.of(everything, source=0, destination=at("10.1.0")) == []
    assert hazards.of(everything, source=at("7.1.0"), destination=0) == []
    assert hazards.of(everything, source=at("7.1.0"), destination=at("10.1.0"))


def test_each_row_can_be_met_and_says_what_to_think_of_it() -> None:
    words = {"--parallel", "preempt", "--postcopy", "qemu tls", "tcg"}
    for each in hazards.HAZARDS:
        assert each.when <= words
        numbers = itertools.product(range(7, 12), range(3), range(4))
        versions = [at(f"{major}.{minor}.{micro}") for major, minor, micro in numbers]
        assert any(version in each.source for version in versions)
        assert any(version in each.destination for version in versions)
    # What is asked for is said in the words of the rules.
    assert "no --parallel" in combinations.features(Options())


def test_in_words() -> None:
    [row] = hazards.of(frozenset(), source=at("10.0.13"), destination=at("10.1.0"))
    assert hazards.words(row, source=at("10.0.13"), destination=at("10.1.0")) == (
        "known to go wrong from QEMU 10.0.13 to 10.1.0: guests of QEMU 10.0 and earlier may not be taken by 10.1.0 "
        "and 10.1.1; 10.1.2 mends it (Debian's changelog of 10.1.2; seen)"
    )
