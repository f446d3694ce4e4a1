"""What two files of lines prove: one copy after the other, or two at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from faults import voices
from faults.voices import Voice


def said(counts: Iterable[int], *, bad: int = 0, boot: bool = False, rest: str = "") -> Voice:
    lines = [f"culvert-guest count={n} verified=9 bad={bad} gen=1 pass={n // 10}\r\n" for n in counts]
    return voices.heard(("culvert-guest boot\r\n" if boot else "") + "".join(lines) + rest)


def test_one_after_the_other() -> None:
    assert voices.faults([said(range(1, 50), boot=True), said(range(50, 90))], 1) == []


def test_there_and_back() -> None:
    here = said([*range(1, 50), *range(90, 99)], boot=True)
    assert voices.faults([here, said(range(50, 90))], 2) == []


def test_a_line_cut_in_two_by_each_hand_over_is_no_loss() -> None:
    here = said(range(1, 50), rest="culvert-guest cou")
    assert voices.faults([here, said(range(51, 90))], 1) == []
    assert voices.faults([here, said(range(52, 90))], 1) == ["memory: 2 lines are missing"]


@pytest.mark.parametrize("again", [range(60, 70), range(89, 90)])
def test_two_copies(again: range) -> None:
    """Whether at the same time, or the older one after the newer one has run."""
    (found,) = voices.faults([said(range(1, 90)), said(again)], 1)
    assert found == f"twice: {len(again)} lines, from {again[0]} to {again[-1]}"


def test_a_second_boot_is_a_second_copy() -> None:
    found = voices.faults([said(range(1, 9), boot=True), said(range(9, 12), boot=True)], 1)
    assert found == ["twice: it booted again"]


def test_bad_memory() -> None:
    assert voices.faults([said(range(1, 9)), said(range(9, 20), bad=3)], 1) == ["memory: 3 bad pages at 9"]


def test_read(tmp_path: Path) -> None:
    file = tmp_path / "serial"
    assert voices.read(file) == Voice()
    file.write_text("culvert-guest boot\nrubbish\nculvert-guest count=7 verified=9 bad=0 gen=1 pass=2\nhalf a li")
    voice = voices.read(file)
    assert (voice.count, voice.boots) == (7, 1)
    assert voice.last
    assert voice.last.passes == 2
