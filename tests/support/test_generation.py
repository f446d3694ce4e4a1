"""Versions as programs tell them, and facts that hold from one on."""

from __future__ import annotations

import pytest

from tests.support import generation
from tests.support.generation import Fact, Program


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ("QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)", (10, 0, 13)),
        ("libvirtd (libvirt) 9.0.0\n", (9, 0, 0)),
        ("12.9.0\n", (12, 9, 0)),
        ("no version", ()),
    ],
)
def test_what_is_told(told: str, version: generation.Version) -> None:
    assert generation.parsed(told) == version


def test_a_row_holds_from_its_version_on() -> None:
    fact = Fact(Program.QEMU, (((), "old"), ((10, 0), "new"), ((11, 1), "newest")))
    assert [fact.at(version) for version in [(), (7, 2, 22), (10, 0), (10, 0, 13), (11, 1, 3)]] == [
        *("old", "old", "new", "new", "newest"),
    ]


def test_this_machine_has_one() -> None:
    assert generation.version(Program.QEMU) >= (7,)
    assert generation.own_machine("pc").startswith("pc-i440fx-")
    assert generation.text(Program.VIRSH).count(".") >= 1
