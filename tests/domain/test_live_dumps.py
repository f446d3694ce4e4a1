"""What ``virsh dumpxml`` shows of a running guest of a stock libvirt can be defined: what that host has recorded of
it is left out, what describes the guest stays.

``live/libvirt-VERSION.xml`` are such dumps, of one q35 guest whose image stands on two others, started by libvirtd
9.0 (Debian 12), 11.3 (Debian 13) and 12.9 (backports), each with its own QEMU.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from culvert.domain import validate
from culvert.domain.defaults import complete
from culvert.domain.definition import DomainDef
from culvert.domain.format import format
from culvert.domain.parse import parse
from culvert.drivers.qemu.abilities.ability import NONE
from culvert.drivers.qemu.command import command
from culvert.drivers.qemu.command.command import LaunchOptions
from culvert.ground import errors
from tests.domain import golden

FOLDER = Path(__file__).with_name("live")
NAMES = sorted(path.stem for path in FOLDER.glob("*.xml"))
# Every q35 of a newer libvirt says so; what can be of it is another matter.
WATCHDOG = re.compile(r" *<watchdog model='itco'.*?</watchdog>\n", re.DOTALL)


def dumped(name: str) -> str:
    """Its machine one that this host has."""
    text = (FOLDER / f"{name}.xml").read_text()
    return WATCHDOG.sub("", re.sub(r"pc-q35-[0-9.]+", "pc-q35-7.2", text))


def defined(text: str) -> DomainDef:
    definition = complete(parse(text), golden.FACTS)
    validate.check(definition)
    return definition


@pytest.mark.parametrize("name", NAMES)
def test_is_taken_without_what_its_host_has_recorded(name: str) -> None:
    shown = format(defined(dumped(name)), secure=True)
    for recorded in (
        "alias",
        "' id=",
        "tty",
        "/dev/pts",
        "seclabel",
        "qcow2' index=",
        "state=",
        "/run/",
    ):
        assert recorded not in shown, recorded
    assert shown.count("<backingStore") == 3
    assert "<backingStore type='file'>" in shown
    assert defined(shown) == defined(dumped(name))


def test_all_of_them_are_the_same_guest() -> None:
    def plain(name: str) -> str:
        shown = format(replace(defined(dumped(name)), metadata=None))
        # libvirt from 12.5 on writes which card it is.
        return golden.without_order(re.sub("<mac .*?/>", "<mac/>", shown.replace(" device='virtio-vga'", "")))

    assert {plain(name) for name in NAMES} == {plain(NAMES[0])}


def test_a_chain_is_opened_as_it_is_described() -> None:
    """As libvirt does: the lower image first, each on a node of its own, numbered from the last disk to the first."""
    argv = command.build(
        golden.running(defined(dumped("libvirt-9.0"))), LaunchOptions(monitor_fd=9, channel_directory="/c"), NONE
    )
    nodes = [json.loads(word) for flag, word in itertools.pairwise(argv) if flag == "-blockdev"]
    assert [(one["node-name"], one.get("filename"), one.get("backing", "-")) for one in nodes] == [
        ("libvirt-4-storage", "/srv/vm/base.qcow2", "-"),
        ("libvirt-4-format", None, None),
        ("libvirt-3-storage", "/srv/vm/over.qcow2", "-"),
        ("libvirt-3-format", None, "libvirt-4-format"),
        ("libvirt-2-storage", "/srv/vm/top.qcow2", "-"),
        ("libvirt-2-format", None, "libvirt-3-format"),
    ]
    assert [one["read-only"] for one in nodes if "read-only" in one] == [True, True, False]


DISK = "<disk><source file='/d'/>{}<target dev='vda'/></disk>"
CHANNEL = "<channel type='unix'><source mode='bind' path='{}'/><target type='virtio' name='org.a'/></channel>"
BASE = (
    "<domain type='qemu'><name>g</name><memory>65536</memory><os><type>hvm</type></os><devices>{}</devices></domain>"
)


@pytest.mark.parametrize(
    ("store", "what"),
    [
        ("<backingStore type='file'><source file='/b'/></backingStore>", "no <format"),
        ("<backingStore type='file'><format type='raw'/></backingStore>", "no <source>"),
        ("<backingStore type='block'><format type='raw'/><source file='/b'/></backingStore>", "no <source>"),
    ],
)
def test_a_chain_that_leads_nowhere(store: str, what: str) -> None:
    with pytest.raises(errors.XMLError, match=what):
        defined(BASE.format(DISK.format(store)))


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/var/lib/libvirt/qemu/channel/target/domain-9-g/org.a", False),
        ("/var/lib/libvirt/qemu/channel/target/g.org.a", False),
        ("/run/libvirt/qemu/channel/9-g/org.a", False),
        ("/home/u/.config/libvirt/qemu/channel/target/domain-g/org.a", False),
        ("/run/user/7/libvirt/qemu/run/channel/9-g/org.a", False),
        ("/var/lib/libvirt/qemu/channel/target/domain-9-g/org.b", True),
        ("/var/lib/libvirt/qemu/g.org.a", True),
        ("/srv/agent", True),
    ],
)
def test_a_socket_that_a_daemon_has_made(path: str, kept: bool) -> None:
    assert (path in format(defined(BASE.format(CHANNEL.format(path))))) == kept


def test_the_device_of_a_card_that_is_none_of_virtio_s() -> None:
    with pytest.raises(errors.ConfigUnsupported, match="/domain/devices/video/model/@device 'virtio-vga'"):
        defined(BASE.format("<video><model type='vga' device='virtio-vga'/></video>"))
