"""Domain XML → definition: what is refused, what is left out, and that rubbish does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from culvert.domain.format import format
from culvert.domain.parse import parse
from culvert.ground import errors

GOLDEN = Path(__file__).parent / "golden"
EVERYTHING = (GOLDEN / "q35-everything.xml").read_text()

BASE = """<domain type='qemu'><name>g</name><memory>65536</memory><os><type>hvm</type></os>{top}
<devices>{devices}</devices></domain>"""

DISK = "<disk><source file='/d'/><target dev='vda'/>{}</disk>"


@pytest.mark.parametrize(
    ("top", "devices", "path"),
    [
        ("<bootloader/>", "", "/domain/bootloader"),
        ("<cputune><memorytune/></cputune>", "", "/domain/cputune/memorytune"),
        ("<numatune><node/></numatune>", "", "/domain/numatune/node"),
        ("<seclabel type='static' model='dac'><label>+0:+0</label></seclabel>", "", "/domain/seclabel"),
        ("<seclabel type='dynamic' model='selinux'><baselabel>x</baselabel></seclabel>", "", "/domain/seclabel"),
        ("<override xmlns='http://libvirt.org/schemas/domain/qemu/1.0'/>", "", "/domain/qemu:override"),
        ("<cpu><numa><node/></numa></cpu>", "", "/domain/cpu/numa/node"),
        ("<features><gic/></features>", "", "/domain/features/gic"),
        ("<clock offset='lunar'/>", "", "/domain/clock/@offset"),
        ("", "<hostdev/>", "/domain/devices/hostdev"),
        ("", "<lease/>", "/domain/devices/lease"),
        ("", "<tpm model='tpm-spapr'/>", "/domain/devices/tpm/@model"),
        ("", DISK.format("<mirror/>"), "/domain/devices/disk/mirror"),
        ("", DISK.format("<backingStore type='nbd'/>"), "/domain/devices/disk/backingStore/@type"),
        ("", "<disk type='nvme'><target dev='vda'/></disk>", "/domain/devices/disk/@type"),
        ("", "<interface type='vhostuser'/>", "/domain/devices/interface/@type"),
        ("", "<interface type='user'><teaming/></interface>", "/domain/devices/interface/teaming"),
        ("", "<graphics type='rdp'/>", "/domain/devices/graphics/@type"),
        ("", "<graphics type='spice' defaultMode='x'/>", "/domain/devices/graphics/@defaultMode"),
        ("", "<video><model type='vmvga'/></video>", "/domain/devices/video/model/@type"),
        ("", "<serial type='nmdm'/>", "/domain/devices/serial/@type"),
        ("", "<rng model='virtio'><backend model='x'/></rng>", "/domain/devices/rng/backend/@model"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_path(top: str, devices: str, path: str) -> None:
    with pytest.raises(errors.ConfigUnsupported) as refusal:
        parse(BASE.format(top=top, devices=devices))
    assert path in str(refusal.value)
    assert "not supported by culvert" in str(refusal.value)


def test_other_documents_are_refused() -> None:
    with pytest.raises(errors.XMLError, match="unexpected root element <network>"):
        parse("<network/>")


@pytest.mark.parametrize("missing", ["<name>g</name>", "<os><type>hvm</type></os>"])
def test_what_must_be_there(missing: str) -> None:
    with pytest.raises(errors.XMLError, match="is missing"):
        parse(BASE.format(top="", devices="").replace(missing, ""))


LIVE = BASE.format(
    top="",
    devices="""<disk><source file='/d' index='3'/><target dev='vda'/><alias name='virtio-disk0'/></disk>
<serial type='pty'><source path='/dev/pts/1'/><alias name='serial0'/></serial>
<console type='pty' tty='/dev/pts/1'><source path='/dev/pts/1'/><alias name='serial0'/></console>
<channel type='unix'><target type='virtio' name='a' state='connected'/><alias name='ua-mine'/></channel>
<memballoon model='virtio'><alias name='balloon0'/></memballoon>""",
).replace("type='qemu'", "type='qemu' id='7'", 1)


def test_what_belongs_to_a_running_domain_is_left_out() -> None:
    definition = parse(LIVE)
    devices = definition.devices
    assert definition.id is None
    assert devices.disks[0].alias is None
    assert devices.disks[0].source is not None
    assert devices.disks[0].source.index is None
    assert devices.serials[0].source is None
    assert devices.consoles[0].tty is None
    assert devices.channels[0].target.state is None
    assert devices.channels[0].alias == "ua-mine"
    assert devices.memballoon is not None
    assert devices.memballoon.alias is None


def test_a_label_that_a_driver_has_made_up_is_left_out() -> None:
    label = (
        "<seclabel type='dynamic' model='apparmor' relabel='yes'><label>libvirt-1</label><imagelabel>libvirt-1"
        "</imagelabel></seclabel><seclabel type='dynamic' model='dac' relabel='yes'/>"
    )
    for live in (False, True):
        assert parse(LIVE.replace("</domain>", f"{label}</domain>"), live=live) == parse(LIVE, live=live)


def test_what_belongs_to_a_running_domain_is_kept_when_asked() -> None:
    assert parse(format(parse(LIVE, live=True)), live=True) == parse(LIVE, live=True)
    assert parse(LIVE, live=True).id == 7


@given(st.data())
@settings(max_examples=150)
def test_a_damaged_document_is_an_error_and_nothing_else(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(EVERYTHING)))
    end = data.draw(st.integers(start, min(len(EVERYTHING), start + 200)))
    patch = data.draw(st.text(max_size=10) | st.sampled_from(["<a>", "</disk>", "'", "&x;", "<!--", "]]>", "\x00"]))
    try:
        definition = parse(EVERYTHING[:start] + patch + EVERYTHING[end:])
    except errors.RequestError:
        return
    assert parse(format(definition, secure=True)) == definition


@given(st.text(max_size=200))
def test_any_text_is_an_error_and_nothing_else(text: str) -> None:
    with pytest.raises(errors.XMLError):
        parse(text)
