"""Which changes a guest would notice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from culvert.domain import abi
from culvert.domain.definition import DomainDef
from culvert.domain.disk_source import DiskSource
from culvert.domain.format import format
from culvert.domain.parse import parse
from culvert.ground import errors
from tests.domain import golden

NAME = "q35-everything"


def changed(old: str, new: str) -> DomainDef:
    """The definition with one text replaced in its XML, completed again."""
    xml = format(golden.complete(NAME), secure=True)
    assert old in xml
    return golden.defined(xml.replace(old, new, 1), golden.complete(NAME))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<source file='/srv/vm/d1.raw'/>", "<source file='/elsewhere/d1.raw'/>"),
        ("cache='none'", "cache='directsync'"),
        ("io='native'", "io='threads'"),
        ("<title>T t</title>", ""),
        ("<on_reboot>destroy", "<on_reboot>restart"),
        ("path='/srv/vm/f.console'", "path='/elsewhere/f.console'"),
        ("passwd='secret'", "passwd='other'"),
        ("action='reset'", "action='pause'"),
        ("<stats period='5'/>", ""),
        ("/dev/urandom", "/dev/random"),
        ("offset='localtime'", "offset='utc'"),
        ("<bootmenu enable='no'/>", ""),
        ("<emulator>/usr/bin/", "<emulator>/opt/bin/"),
    ],
)
def test_free_changes(old: str, new: str) -> None:
    abi.check(golden.complete(NAME), changed(old, new))


def test_a_file_may_become_a_block_device() -> None:
    source = golden.complete("pc-direct-kernel")
    disk = replace(source.devices.disks[0], type="block", source=DiskSource(dev="/dev/vg/d1"), driver=None)
    abi.check(source, replace(source, devices=replace(source.devices, disks=(disk,))))


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("<memory unit='KiB'>65536", "<memory unit='KiB'>131072", "/domain/memory '131072'"),
        ("<vcpu placement='static'>1", "<vcpu placement='static'>2", "/domain/vcpu"),
        ("1111-2222", "1111-2223", "/domain/uuid"),
        ("type='qemu'", "type='kvm'", "/domain/@type"),
        ("pc-q35-7.2", "q35", None),
        ("<apic/>", "", "/domain/features/apic"),
        ("<vmport state='off'/>", "<vmport state='on'/>", "/domain/features/vmport/@state"),
        (
            "<timer name='hpet' present='yes'/>",
            "<timer name='hpet' present='no'/>",
            "/domain/clock/timer[3]/@present",
        ),
        ("<timer name='hpet' present='yes'/>", "", "/domain/clock/timer count"),
        ("mode='maximum'", "mode='custom'", "/domain/cpu/"),
        ("<suspend-to-mem enabled='no'/>", "<suspend-to-mem enabled='yes'/>", "/domain/pm/suspend-to-mem"),
        ("<serial>S1</serial>", "<serial>S2</serial>", "/domain/devices/disk[5]/serial"),
        ("<target dev='sdd' bus='sata'/>", "<target dev='sde' bus='sata'/>", "/domain/devices/disk[4]/target/@dev"),
        ("type='qcow2' cache='writeback'", "type='qcow2' cache='writeback' queues='2'", "disk[1]/driver/@queues"),
        ("<readonly/>", "", "/domain/devices/disk[6]/readonly"),
        ("52:54:00:00:00:02", "52:54:00:00:00:12", "/domain/devices/interface[1]/mac"),
        ("<model type='e1000'/>", "<model type='rtl8139'/>", "/domain/devices/interface[1]/model"),
        ("bus='0x02' slot='0x01'", "bus='0x02' slot='0x1e'", "/domain/devices/interface[1]/address/@slot"),
        ("<interface type='user'>", "<interface type='ethernet'>", "/domain/devices/interface[1]/@type 'ethernet'"),
        ("autodeflate='on'", "", "/domain/devices/memballoon/@autodeflate"),
        ("name='x.y.z'", "name='x.y.a'", "/domain/devices/channel[2]/target/@name"),
        ("heads='1'", "heads='2'", "/domain/devices/video[1]/model/@heads"),
    ],
)
def test_changes_the_guest_would_notice(old: str, new: str, path: str | None) -> None:
    source, target = golden.complete(NAME), changed(old, new)
    if path is None:
        abi.check(source, target)
        return
    with pytest.raises(errors.ConfigUnsupported, match="does not match source") as refusal:
        abi.check(source, target)
    assert path in str(refusal.value)


def test_a_missing_device_is_counted() -> None:
    source = golden.complete(NAME)
    fewer = replace(source, devices=replace(source.devices, rngs=source.devices.rngs[:1]))
    with pytest.raises(errors.ConfigUnsupported, match=r"Target /domain/devices/rng count '1' .* source '2'"):
        abi.check(source, fewer)


def test_the_name_changes_only_when_it_is_said() -> None:
    source = golden.complete(NAME)
    renamed = replace(source, name="new")
    abi.check(source, renamed, name="new")
    abi.check(source, source, name="new")
    with pytest.raises(errors.ConfigUnsupported, match="domain name 'new' does not match source"):
        abi.check(source, renamed)


@pytest.mark.parametrize("name", golden.NAMES)
def test_a_running_domain_fits_what_it_sends(name: str) -> None:
    source = golden.running(golden.complete(name))
    arrived = golden.defined(format(source, migratable=True, secure=True), source)
    abi.check(source, arrived)


def test_aliases_and_numbers_of_images_do_not_count() -> None:
    source = golden.complete(NAME)
    abi.check(source, parse(format(golden.running(source), secure=True), live=True))
