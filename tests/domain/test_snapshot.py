"""Snapshots as values: read, written, what is asked for against what a guest has, the tree of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from culvert.domain import snapshot as snapshot_xml
from culvert.domain.defaults import complete
from culvert.domain.definition import DomainDef
from culvert.domain.loader import Loader
from culvert.domain.parse import parse
from culvert.domain.snapshot import Head, Parent, Snapshot
from culvert.ground import errors
from tests.domain import golden

DISK = "<disk><driver type='{}'/><source file='/{}'/><target dev='{}'/>{}</disk>"


def guest(*disks: str) -> DomainDef:
    devices = "".join(disks)
    return complete(parse(golden.text("pc-minimal").replace("<devices>", f"<devices>{devices}")), golden.FACTS)


TWO = guest(DISK.format("qcow2", "a", "vda", ""), DISK.format("qcow2", "b", "vdb", "<readonly/>"))


def made(text: str, definition: DomainDef = TWO, state: str = "shutoff") -> Snapshot:
    wanted = snapshot_xml.parse(f"<domainsnapshot>{text}</domainsnapshot>")
    return snapshot_xml.made(wanted, definition, state=state, now=7, parent="above", inactive=definition)


def test_what_goes_without_saying() -> None:
    found = made("")
    assert (found.name, found.parent, found.state, found.head.created) == ("7", "above", "shutoff", 7)
    assert [(disk.name, disk.snapshot) for disk in found.disks] == [("vda", "internal"), ("vdb", "no")]
    assert found.head.memory is not None
    assert found.head.memory.snapshot == "no"
    assert found.inactive is None
    live = made("<name>x</name>", state="running")
    assert live.head.memory is not None
    assert (live.head.memory.snapshot, live.inactive) == ("internal", TWO)


@pytest.mark.parametrize("state", ["shutoff", "running"])
def test_what_is_written_reads_back_the_same(state: str) -> None:
    found = made("<name>x</name><description>of &lt;it&gt;</description>", state=state)
    for current in (True, False):
        text = snapshot_xml.format(found, uuid=golden.UUID, secure=True, current=current)
        assert snapshot_xml.parse(text, redefine=True) == found
        assert snapshot_xml.is_current(text) is current


@pytest.mark.parametrize(
    ("text", "state", "refusal", "says"),
    [
        ("<disks><disk name='vdx'/></disks>", "shutoff", errors.ConfigUnsupported, "no disk named 'vdx'"),
        ("<disks><disk name='vda'/><disk name='/a'/></disks>", "shutoff", errors.ConfigUnsupported, "twice"),
        ("<disks><disk name='vda' snapshot='no'/></disks>", "running", errors.ConfigUnsupported, "must use"),
        ("<disks><disk name='vda' snapshot='external'/></disks>", "running", errors.ConfigUnsupported, "external"),
        ("<memory snapshot='external' file='/m'/>", "running", errors.ConfigUnsupported, "external"),
        ("<memory snapshot='no'/>", "running", errors.OperationUnsupported, "must include the memory"),
        ("<memory snapshot='internal'/>", "shutoff", errors.XMLError, "cannot be saved with offline"),
    ],
)
def test_what_is_refused(text: str, state: str, refusal: type[errors.RequestError], says: str) -> None:
    with pytest.raises(refusal, match=says):
        made(text, state=state)


@pytest.mark.parametrize(
    ("disks", "state", "says"),
    [
        ((DISK.format("raw", "a", "vda", ""),), "shutoff", "vda unsupported for storage type raw"),
        ((), "shutoff", "nothing selected"),
        ((), "running", "require all disks"),
        ((DISK.format("qcow2", "a", "vda", "").replace("<disk>", "<disk snapshot='no'>"),), "running", "all disks"),
        (
            (DISK.format("qcow2", "a", "vda", "").replace("<disk>", "<disk snapshot='external'>"),),
            "running",
            "external snapshots are not supported",
        ),
    ],
)
def test_a_guest_of_which_none_can_be_taken(disks: tuple[str, ...], state: str, says: str) -> None:
    with pytest.raises(errors.ConfigUnsupported, match=says):
        made("", guest(*disks), state)


def test_nor_of_one_whose_firmware_keeps_variables() -> None:
    one = guest(DISK.format("qcow2", "a", "vda", ""))
    flashed = replace(one, os=replace(one.os, loader=Loader(type="pflash", path="/f.fd")))
    with pytest.raises(errors.OperationUnsupported, match="pflash based firmware"):
        made("", flashed, "shutoff")


def named(name: str, parent: str | None = None, state: str = "shutoff") -> Snapshot:
    return Snapshot(Head(name=name, parent=Parent(name=parent) if parent else None, state=state, created=1))


HELD = {one.name: one for one in (named("a"), named("b", "a"), named("c", "b"), named("d", "a"), named("e"))}


def test_the_tree() -> None:
    assert snapshot_xml.descendants(HELD, None) == ["a", "b", "c", "d", "e"]
    assert snapshot_xml.descendants(HELD, "a") == ["b", "c", "d"]
    assert snapshot_xml.descendants(HELD, "c") == []


@pytest.mark.parametrize(
    ("snapshot", "says"),
    [
        (named("a", "a"), "its own parent"),
        (named("a", "gone"), "not found"),
        (named("a", "c"), "cycle"),
        (named("b", "a", "running"), "cannot change between online and offline"),
        (Snapshot(HELD["e"].head, TWO), "must use uuid"),
    ],
)
def test_what_cannot_be_noted_anew(snapshot: Snapshot, says: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=says):
        snapshot_xml.check_redefined(snapshot, HELD, "another", "g")


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("<domain/>", errors.XMLError),
        ("<domainsnapshot><creationTime>1</creationTime></domainsnapshot>", errors.XMLError),
        ("<domainsnapshot><name>x</name></domainsnapshot>", errors.InternalError),
        ("<domainsnapshot><name>x</name><creationTime>1</creationTime></domainsnapshot>", errors.XMLError),
        (
            "<domainsnapshot><name>x</name><creationTime>1</creationTime><state>odd</state></domainsnapshot>",
            errors.ConfigUnsupported,
        ),
    ],
)
def test_what_says_too_little_of_itself(text: str, refusal: type[errors.RequestError]) -> None:
    with pytest.raises(refusal):
        snapshot_xml.parse(text, redefine=True)
