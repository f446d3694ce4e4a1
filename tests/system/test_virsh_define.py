"""The real virsh defines, redefines, undefines and creates domains, and looks at their XML."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from lxml import etree

from guests import domain_xml
from tests.domain import golden
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny, state_of
from tests.support.virsh import virsh

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")  # of Debian's libvirt0
MINIMAL = "<domain type='qemu'><name>{}</name><memory unit='MiB'>16</memory><os><type>hvm</type></os>{}</domain>"


def written(folder: Path, text: str, name: str = "domain.xml") -> str:
    """The path of a file that holds ``text``."""
    path = folder / name
    path.write_text(text)
    return str(path)


def names(uri: str, *filters: str) -> list[str]:
    """What ``virsh list --name`` shows."""
    return virsh("list", "--name", *filters, uri=uri).expect().split()


def test_define_redefine_undefine(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    told = virsh("define", written(folder, MINIMAL.format("new", "")), uri=uri).expect()
    assert "Domain 'new' defined from" in told
    assert names(uri, "--all") == ["new"]
    assert names(uri) == []
    identity = virsh("domuuid", "new", uri=uri).expect().strip()
    assert uuid.UUID(identity).version == 4
    kept = host_a.root / "etc" / "qemu" / "new.xml"
    assert identity in kept.read_text()

    changed = MINIMAL.format("new", f"<uuid>{identity}</uuid><description>second</description>")
    virsh("define", "--validate", written(folder, changed), uri=uri).expect()
    assert "second" in virsh("dumpxml", "new", uri=uri).expect()
    assert "second" in kept.read_text()
    assert "second" in virsh("desc", "new", uri=uri).expect()
    # Without its UUID it would be another domain of the same name.
    result = virsh("define", written(folder, MINIMAL.format("new", "")), uri=uri)
    assert "already exists with uuid" in result.err
    # The same UUID under another name is no renaming.
    result = virsh("define", written(folder, changed.replace(">new<", ">newer<")), uri=uri)
    assert identity in result.err
    assert names(uri, "--all") == ["new"]
    assert "second" in virsh("dumpxml", "new", uri=uri).expect()

    assert "has been undefined" in virsh("undefine", "new", uri=uri).expect()
    assert names(uri, "--all") == []
    assert not kept.exists()
    assert "failed to get domain 'new'" in virsh("undefine", "new", uri=uri).err


REFUSED = [
    ("", "empty"),
    ("not xml", ""),
    ("<domain type='qemu'><name>x</name>", ""),
    ("<pool type='dir'/>", "pool"),
    (MINIMAL.format("", ""), "name"),
    (MINIMAL.format("a/b", ""), "a/b"),
    (MINIMAL.format("x", "").replace("'qemu'", "'xen'"), "xen"),
    (MINIMAL.format("x", "").replace("hvm", "linux"), "linux"),
    (MINIMAL.format("x", "<uuid>nonsense</uuid>"), "nonsense"),
    (MINIMAL.format("x", "<vcpu>many</vcpu>"), "vcpu"),
    (MINIMAL.format("x", "").replace("unit='MiB'", "unit='stone'"), "stone"),
    (MINIMAL.format("x", "<launchSecurity type='sev'/>"), "/domain/launchSecurity"),
    (MINIMAL.format("x", "<devices><lease/></devices>"), "/domain/devices/lease"),
    (
        MINIMAL.format("x", "<devices><disk type='network' device='disk'><target dev='vda'/></disk></devices>"),
        "network",
    ),
    (
        MINIMAL.format("x", "<devices><interface type='user'><teaming/></interface></devices>"),
        "/domain/devices/interface/teaming",
    ),
    (MINIMAL.format("x", "<devices><memballoon model='virtio' wrong='1'/></devices>"), "wrong"),
    ("<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/hostname'>]>" + MINIMAL.format("x&e;", ""), ""),
    ("<domain>" * 3000 + "</domain>" * 3000, ""),
]


def test_what_cannot_be_is_refused_by_name_and_changes_nothing(uri: str, folder: Path) -> None:
    for text, word in REFUSED:
        for command in (("define",), ("define", "--validate"), ("create",), ("create", "--validate")):
            result = virsh(*command, written(folder, text), uri=uri)
            assert not result.ok, (command, text)
            assert word in result.err, (command, text, result)
            assert "internal error" not in result.err, (command, text, result)
    assert names(uri, "--all") == []


def test_create_is_transient_and_gone_at_its_end(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    path = str(domain_xml.tiny_guest(folder, "t").write_xml())
    assert "Domain 't' created from" in virsh("create", "--paused", path, uri=uri).expect()
    assert virsh("domstate", "--reason", "t", uri=uri).expect().strip() == "paused (user)"
    assert names(uri, "--transient") == ["t"]
    assert not (host_a.root / "etc" / "qemu" / "t.xml").exists()
    result = virsh("create", path, uri=uri)
    assert "already active" in result.err, result
    assert "cannot undefine transient domain" in virsh("undefine", "t", uri=uri).err
    virsh("destroy", "t", uri=uri).expect()
    assert names(uri, "--all") == []
    host_a.assert_no_leftovers()


def test_transient_becomes_persistent_and_persistent_transient(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        xml = folder / "tiny.xml"
        virsh("define", str(xml), uri=uri).expect()
        assert names(uri, "--persistent") == ["tiny"]
        assert "Persistent:     yes" in virsh("dominfo", "tiny", uri=uri).expect()
        assert "Domain 'tiny' has been undefined" in virsh("undefine", "tiny", uri=uri).expect()
        assert names(uri, "--transient") == ["tiny"]
        assert "Persistent:     no" in virsh("dominfo", "tiny", uri=uri).expect()
        assert state_of(guest.uuid, host_a) == "running"
        guest.watch.wait_verified()
        virsh("destroy", "tiny", uri=uri).expect()
        assert names(uri, "--all") == []


def test_a_new_definition_counts_from_the_next_start(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        inactive = virsh("dumpxml", "--inactive", "tiny", uri=uri).expect()
        changed = inactive.replace("<vcpu placement='static'>1<", "<vcpu placement='static'>2<")
        assert changed != inactive
        virsh("define", written(folder, changed), uri=uri).expect()
        assert ">1</vcpu>" in virsh("dumpxml", "tiny", uri=uri).expect()
        assert ">2</vcpu>" in virsh("dumpxml", "--inactive", "tiny", uri=uri).expect()
        guest.watch.wait_verified()
        virsh("destroy", "tiny", uri=uri).expect()
        virsh("start", "--paused", "tiny", uri=uri).expect()
        assert ">2</vcpu>" in virsh("dumpxml", "tiny", uri=uri).expect()
        assert re.search(r"CPU\(s\): +2\n", virsh("dominfo", "tiny", uri=uri).expect())


def test_a_start_that_fails_shows_the_words_of_qemu(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    guest = domain_xml.tiny_guest(folder, "broken")
    path = written(folder, guest.xml.replace(str(folder / "broken.serial"), str(folder / "no" / "such")))
    result = virsh("create", path, uri=uri)
    assert str(folder / "no" / "such") in result.err, result
    assert "No such file or directory" in result.err
    assert names(uri, "--all") == []
    virsh("define", path, uri=uri).expect()
    result = virsh("start", "broken", uri=uri)
    assert "No such file or directory" in result.err, result
    assert virsh("domstate", "--reason", "broken", uri=uri).expect().strip() == "shut off (failed)"
    host_a.assert_no_leftovers()


def test_the_three_faces_of_the_xml(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    schema = etree.RelaxNG(file=str(SCHEMA))
    with running_tiny(host_a, folder, persistent=True) as guest:
        live = virsh("dumpxml", guest.name, uri=uri).expect()
        inactive = virsh("dumpxml", "--inactive", guest.name, uri=uri).expect()
        migratable = virsh("dumpxml", "--migratable", guest.name, uri=uri).expect()
        for text in (live, inactive, migratable):
            schema.assertValid(etree.fromstring(text.encode()))
        number = virsh("domid", guest.name, uri=uri).expect().strip()
        assert live.startswith(f"<domain type='qemu' id='{number}'>")
        assert "<alias name='serial0'/>" in live
        pty = etree.fromstring(live.encode()).xpath("string(devices/serial[@type='pty']/source/@path)")
        assert Path(str(pty)).is_char_device()
        for text in (inactive, migratable):
            assert " id=" not in text.splitlines()[0]
        assert "<alias" not in inactive
        assert str(pty) not in inactive
        assert virsh("dumpxml", "--update-cpu", guest.name, uri=uri).expect() == live


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_everything_the_driver_knows_is_defined_as_libvirt_does(host_a: DaemonProcess, machine: str) -> None:
    """``dumpxml`` fits libvirt's schema, and defining what it shows changes nothing but the order of controllers: a
    libvirtd, too, puts those of a type together that it has made and those that it is given."""
    schema = etree.RelaxNG(file=str(SCHEMA))
    for name in golden.NAMES:
        if not name.startswith(machine):
            continue
        path = golden.FOLDER / f"{name}.xml"
        domain = etree.fromstring(path.read_bytes()).findtext("name")
        assert domain is not None
        virsh("define", str(path), uri=host_a.uri).expect()
        shown = virsh("dumpxml", "--security-info", domain, uri=host_a.uri).expect()
        if schema.validate(etree.fromstring(golden.defined_text(name).encode())):  # once libvirt's own does not
            schema.assertValid(etree.fromstring(shown.encode()))
        virsh("define", "--validate", written(host_a.root, shown), uri=host_a.uri).expect()
        again = virsh("dumpxml", "--security-info", domain, uri=host_a.uri).expect()
        assert sorted(again.splitlines()) == sorted(shown.splitlines()), name
        virsh("undefine", domain, uri=host_a.uri).expect()


NAMES = (
    "a b",
    "a,b=c",
    "1",
    "domain-1-a",
    "täst",
    "q'\"$(x)&<",
    "--all",
    "%s",
    ".hidden",
    "x.json",
    "a\\b",
    "n" * 220,
)


def test_names_of_any_kind(host_a: DaemonProcess, folder: Path) -> None:
    """Defined, started, found again, stopped, undefined."""
    uri = host_a.uri
    path = folder / "named.xml"
    for name in NAMES:
        path.write_text(MINIMAL.format(escape(name), "<devices><memballoon model='none'/></devices>"))
        virsh("define", str(path), uri=uri).expect()
    host_a.restart()
    shown = virsh("list", "--all", "--name", uri=uri).expect().rstrip("\n").split("\n")
    assert sorted(shown) == sorted(NAMES)
    for name in NAMES:
        virsh("start", "--paused", "--", name, uri=uri).expect()
    host_a.restart(kill=True)
    for name in NAMES:
        assert virsh("domstate", "--", name, uri=uri).expect().strip() == "paused"
        virsh("destroy", "--", name, uri=uri).expect()
        virsh("undefine", "--", name, uri=uri).expect()
    assert names(uri, "--all") == []
    host_a.assert_no_leftovers()
