"""The cells: what there is, what must come of each, and how they are named."""

from __future__ import annotations

import pytest

from faults.plan import chosen
from generations import plan
from generations.plan import PAIRED, Cell, Expected, Kind, Word

QEMU = {"12": (7, 2, 22), "13": (10, 0, 13), "13-backports": (11, 1, 3)}
BOOKWORM = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n'
TRIXIE = 'VERSION_CODENAME="trixie"\nID=debian\n'


def test_names_are_unique() -> None:
    every = list(plan.cells())
    assert len({cell.name for cell in every}) == len(every)


def test_every_ordered_pair_has_every_way() -> None:
    every = {cell.name for cell in plan.cells()}
    for first in PAIRED:
        for second in PAIRED:
            for way in plan.WAYS:
                assert any(name.startswith(f"pair/{first}/{second}/{way.key}/") for name in every)
            for way in plan.STOCK_WAYS:
                assert f"libvirtd/{first}/{second}/{way.mode}/pc-q35-7.2" in every


@pytest.mark.parametrize(
    ("os_release", "package", "key"),
    [
        (BOOKWORM, "1:7.2+dfsg-7+deb12u18", "12"),
        (TRIXIE, "1:10.0.13+ds-0+deb13u1", "13"),
        (TRIXIE, "1:11.1.3+ds-1~bpo13+1", "13-backports"),
        (TRIXIE, "", "13"),
        (TRIXIE.replace("trixie", "duke"), "", ""),
        (TRIXIE.replace("debian", "other"), "", ""),
        ("", "", ""),
    ],
)
def test_which_generation_a_machine_is(os_release: str, package: str, key: str) -> None:
    assert plan.own(os_release, package) == key


@pytest.mark.parametrize(
    ("cell", "must"),
    [
        (Cell(Kind.RUN, "testing", "demo"), Expected(Word.OK)),
        (Cell(Kind.PAIR, "13", "direct/pre-copy", "12", "pc-q35-7.2"), Expected(Word.OK)),
        (Cell(Kind.PAIR, "12", "direct/pre-copy", "13", "q35"), Expected(Word.OK)),
        (Cell(Kind.PAIR, "13", "direct/pre-copy", "12", "q35"), Expected(Word.REFUSED, "pc-q35-10.0")),
        (Cell(Kind.PAIR, "13-backports", "direct/pre-copy", "13", "pc"), Expected(Word.REFUSED, "pc-i440fx-11.1")),
        (
            Cell(Kind.PAIR, "13", "pump/parallel-post-copy", "12", "pc-q35-7.2"),
            Expected(Word.REFUSED, "10.1"),
        ),
        (Cell(Kind.PAIR, "13-backports", "pump/parallel-post-copy", "13-backports", "q35"), Expected(Word.OK)),
        (Cell(Kind.STOCK, "12", "native", "13", "pc-q35-7.2"), Expected(Word.OK)),
    ],
    ids=lambda value: value.name if isinstance(value, Cell) else "",
)
def test_what_must_come(cell: Cell, must: Expected) -> None:
    assert plan.expected(cell, QEMU) == must


def test_a_refusal_must_name_what_is_missing() -> None:
    must = Expected(Word.REFUSED, "pc-q35-10.0")
    assert plan.as_it_must(Word.REFUSED, "does not support machine type 'pc-q35-10.0'", must)
    assert not plan.as_it_must(Word.REFUSED, "an error", must)
    assert not plan.as_it_must(Word.OK, "", must)
    assert not plan.as_it_must(Word.FAILED, "pc-q35-10.0", must)
    assert not plan.as_it_must(Word.REFUSED, "an error", Expected(Word.OK))


def test_chosen_by_parts_of_names() -> None:
    every = list(plan.cells())
    assert chosen(every, []) == every
    found = chosen(every, ["pair/12/tls", "run/demo/"])
    assert {cell.kind for cell in found} == {Kind.PAIR, Kind.RUN}
    assert all("12" in cell.generations and cell.way.tls for cell in found if cell.kind is Kind.PAIR)
    with pytest.raises(ValueError, match="no cell is called 'pair/floppy'"):
        chosen(every, ["pair/floppy"])


def test_the_fast_ones_are_there_and_few() -> None:
    every = list(plan.cells())
    assert 0 < len(chosen(every, plan.FAST)) < len(every) / 2


@pytest.mark.parametrize(
    ("pattern", "output", "words"),
    [
        (r"\d+ passed", "a\n==== 3 passed in 2.0s ====\nmake: Leaving\n", "3 passed in 2.0s"),
        (r"\d+ passed", "make: *** nothing works\n\n", "make: *** nothing works"),
        (".", "", ""),
    ],
)
def test_last_words(pattern: str, output: str, words: str) -> None:
    assert plan.last_words(pattern, output) == words
