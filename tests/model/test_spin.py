"""SPIN agrees: the protocol keeps its promises, and each seeded defect breaks one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.model import spin

DEFECTS = sorted(set(re.findall(r"ifn?def (BAD_\w+)", spin.MODEL.read_text())))


@pytest.mark.parametrize("more", [(), ("POSTCOPY",)], ids=["pre-copy", "post-copy"])
def test_the_claims_hold(tmp_path: Path, more: tuple[str, ...]) -> None:
    spin.build(tmp_path, "FAULTS=2", *more)
    for claim in (*spin.ALWAYS, spin.EVENTUALLY):
        verdict = spin.check(tmp_path, claim)
        print(f"{claim}: {verdict}")
        assert verdict.error == ""
        assert verdict.states > 100_000


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found(tmp_path: Path, defect: str) -> None:
    spin.build(tmp_path, "FAULTS=2", defect)
    assert spin.check(tmp_path, "one_copy").error


def test_there_are_defects() -> None:
    assert len(DEFECTS) >= 7
