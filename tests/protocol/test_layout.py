"""The wire as text: every change of a row, of a struct or of its flags shows up here as a diff."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.protocol import culvert, layout, qemu, remote
from culvert.protocol.shapes import DomainFlagsArgs
from culvert.xdr.struct import Void

WIRE = Path(__file__).with_name("wire-layout.txt")
PROGRAMS = [remote.PROGRAM, qemu.PROGRAM, culvert.PROGRAM]


def test_the_wire_is_what_it_was() -> None:
    """After an intended change: ``python -m tests.protocol.test_layout`` writes the copy anew."""
    now = [line for program in PROGRAMS for line in layout.lines(program)]
    assert now == WIRE.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("kind", "text"),
    [(DomainFlagsArgs, "dom:Domain, flags:unsigned int"), (Void, "—"), (culvert.HelloArgs, "abilities:string<64>")],
)
def test_fields(kind: type, text: str) -> None:
    assert layout.fields(kind) == text


def test_inner_structs_come_before_those_that_hold_them() -> None:
    names = [name for name, _ in layout.structs(remote.PROGRAM)]
    assert names.index("Domain") < names.index("DomainStatsRecord")
    assert names.index("TypedParam") < names.index("DomainStatsRecord")
    assert len(names) == len(set(names))


if __name__ == "__main__":
    WIRE.write_text("".join(f"{line}\n" for p in PROGRAMS for line in layout.lines(p)), encoding="utf-8")
