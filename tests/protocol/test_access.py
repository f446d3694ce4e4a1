"""What each call demands is what libvirt demands, and is read as libvirt reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from culvert.protocol import access, culvert, qemu, remote
from culvert.protocol.access import demands
from culvert.protocol.procedure import WRITE, Procedure

FACTS = Path(__file__).with_name("libvirt-access.txt")
NEWER = {"DOMAIN_ANNOUNCE_INTERFACE": ("domain:write", "", False)}
"""Procedures that libvirt 11.3 does not have."""


def facts() -> dict[str, tuple[str, str, bool]]:
    lines = [line for line in FACTS.read_text("utf-8").splitlines() if not line.startswith("#")]
    rows = [line.split(";") for line in lines]
    return NEWER | {name: (acl, acl_filter, bool(only)) for name, acl, acl_filter, only in rows}


def every_row() -> Iterator[Procedure[Any, Any]]:
    for program in (remote.PROGRAM, qemu.PROGRAM, culvert.PROGRAM):
        yield from program


def test_every_call_of_libvirts_demands_what_it_demands_there() -> None:
    known = facts()
    for program in (remote.PROGRAM, qemu.PROGRAM):
        for row in program:
            assert (row.acl, row.acl_filter, row.read_only) == known[row.name], row.name


def test_every_call_says_what_it_demands() -> None:
    for row in every_row():
        assert row.acl, row.name
        assert bool(demands(row.acl)) == (row.acl != access.NONE), row.name
        demands(row.acl_filter)


def test_a_read_only_connection_settles_nothing() -> None:
    assert [row.name for row in culvert.PROGRAM if row.read_only] == [
        *("HELLO", "MIGRATION_HISTORY", "MIGRATION_SHOW", "MIGRATION_WAITING")
    ]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (0, ["domain.write", "domain.save"]),
        (1, ["domain.write"]),
        (2, ["domain.write", "domain.save"]),
        (3, ["domain.write", "domain.save"]),
    ],
)
def test_what_is_kept_wants_more_than_what_runs(flags: int, words: list[str]) -> None:
    """Without a flag it is the current state that is changed, which may be the kept one."""
    found = [demand.word for demand in demands(WRITE) if demand.applies(SimpleNamespace(flags=flags))]
    assert found == words


def test_an_argument_may_make_the_difference() -> None:
    lease, agent = (SimpleNamespace(source=source, flags=0) for source in (0, 1))
    (row,) = (row for row in remote.PROGRAM if row.name == "DOMAIN_INTERFACE_ADDRESSES")
    assert [demand.word for demand in demands(row.acl) if demand.applies(lease)] == ["domain.read"]
    assert [demand.word for demand in demands(row.acl) if demand.applies(agent)] == ["domain.read", "domain.write"]


@pytest.mark.parametrize("text", ["domain", "domain:", ":write", "a:b:c:d:e:f", "domain:write:VIR_NOBODY_KNOWS"])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'{text}'")):
        demands(text)


def test_what_is_more_than_looking_in_a_call_that_looks() -> None:
    """Those rows whose function in libvirt refuses a flag, or an argument, on a read-only connection."""
    found = {row.name for row in every_row() if row.read_only and any(each.is_more for each in demands(row.acl))}
    assert {"DOMAIN_GET_XML_DESC", "DOMAIN_GET_VCPUS_FLAGS", "DOMAIN_INTERFACE_ADDRESSES"} <= found
    assert found <= {
        *("DOMAIN_GET_XML_DESC", "DOMAIN_GET_VCPUS_FLAGS", "DOMAIN_INTERFACE_ADDRESSES"),
        *("DOMAIN_MANAGED_SAVE_GET_XML_DESC", "DOMAIN_SNAPSHOT_GET_XML_DESC", "DOMAIN_CHECKPOINT_GET_XML_DESC"),
    }
