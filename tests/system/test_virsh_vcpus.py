"""Processors that were added while the guest ran: they stay what they are wherever it goes, and can leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import boot_sector, generation
from tests.support.daemon import DaemonProcess
from tests.support.virsh import virsh
from tests.support.wait import wait_for

NAME = "grown"
MEMORY_KIB = 16 * 1024 + 8


def started(host: DaemonProcess, folder: Path, code: bytes = boot_sector.LET_GO) -> None:
    """A guest of one processor that may have four, with a disk whose queues QEMU counts by its processors."""
    image = folder / "more.img"
    image.write_bytes(bytes(1 << 20))
    xml = folder / "grown.xml"
    xml.write_text(
        f"<domain type='qemu'><name>{NAME}</name><memory>{MEMORY_KIB}</memory><vcpu current='1'>4</vcpu>"
        "<os><type machine='pc'>hvm</type></os><features><acpi/></features><devices>"
        f"{boot_sector.disk(folder, NAME, code)}"
        f"<disk type='file'><driver name='qemu' type='raw'/><source file='{image}'/><target dev='vda'/></disk>"
        "</devices></domain>"
    )
    virsh("define", str(xml), uri=host.uri).expect()
    virsh("start", NAME, uri=host.uri).expect()


def count(host: DaemonProcess) -> str:
    return virsh("vcpucount", NAME, "--live", "--current", uri=host.uri).expect().strip()


def states(host: DaemonProcess, *options: str) -> list[str]:
    shown = virsh("dumpxml", NAME, *options, uri=host.uri).expect()
    return [line.strip() for line in shown.splitlines() if "<vcpu id=" in line]


def asked(host: DaemonProcess) -> bool:
    """Ask the guest for its second processor, past the daemon: whether QEMU has taken that."""
    command = json.dumps({"execute": "device_del", "arguments": {"id": "vcpu1"}})
    return "return" in json.loads(virsh("qemu-monitor-command", NAME, command, uri=host.uri).expect())


def lets_go(host: DaemonProcess) -> bool:
    """Take one away; the firmware of a guest that has just begun does not hear of it."""
    asked(host)
    return count(host) == "1"


GROWN = [
    "<vcpu id='0' enabled='yes' hotpluggable='no' order='1'/>",
    "<vcpu id='1' enabled='yes' hotpluggable='yes' order='2'/>",
    "<vcpu id='2' enabled='no' hotpluggable='yes'/>",
    "<vcpu id='3' enabled='no' hotpluggable='yes'/>",
]


@pytest.mark.parametrize(
    "way",
    [
        *("p2p", "client", "save", "managed-save", "restart"),
        pytest.param("post-copy", marks=generation.needs_postcopy),
    ],
)
def test_an_added_processor_goes_along(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, way: str) -> None:
    started(host_a, folder)
    virsh("setvcpus", NAME, "2", "--live", uri=host_a.uri).expect()
    assert states(host_a) == GROWN
    host = host_a
    file = str(folder / "grown.save")
    migrate = ("migrate", "--live", "--unsafe", NAME, host_b.tcp_uri)
    match way:
        case "p2p":
            virsh(*migrate, "--p2p", "--tunnelled", "--persistent", uri=host_a.uri).expect()
            host = host_b
        case "client":
            virsh(*migrate, "--persistent", uri=host_a.uri).expect()
            host = host_b
        case "post-copy":
            virsh(
                *migrate, "--p2p", "--persistent", "--postcopy", "--postcopy-after-precopy", uri=host_a.uri
            ).expect()
            host = host_b
        case "save":
            virsh("save", NAME, file, uri=host_a.uri).expect()
            virsh("restore", file, uri=host_a.uri).expect()
        case "managed-save":
            virsh("managedsave", NAME, uri=host_a.uri).expect()
            virsh("start", NAME, uri=host_a.uri).expect()
        case _:
            host_a.restart(kill=True)
    assert states(host) == GROWN
    assert states(host, "--inactive") == []
    assert count(host) == "2"
    assert len(virsh("vcpuinfo", NAME, uri=host.uri).expect().split("VCPU:")) == 3
    wait_for(lambda: lets_go(host), "the guest lets go of the processor")


def test_one_that_goes_late_does_not_come_again(host_a: DaemonProcess, folder: Path) -> None:
    """What the guest lets go of when nobody waits for it is not one that would be plugged in elsewhere."""
    started(host_a, folder, boot_sector.LET_GO_AT_A_KEY)
    virsh("setvcpus", NAME, "2", "--live", uri=host_a.uri).expect()
    wait_for(lambda: asked(host_a), "QEMU takes the request")
    assert count(host_a) == "2"
    virsh("send-key", NAME, "KEY_A", uri=host_a.uri).expect()
    wait_for(lambda: count(host_a) == "1", "the guest has let go of it")
    gone = "<vcpu id='1' enabled='no' hotpluggable='yes'/>"
    assert states(host_a)[1] == gone
    host_a.restart(kill=True)
    assert states(host_a)[1] == gone


def test_none_is_taken_away_under_tcg(host_a: DaemonProcess, folder: Path) -> None:
    """Its QEMU would not live long after that."""
    started(host_a, folder)
    virsh("setvcpus", NAME, "2", "--live", uri=host_a.uri).expect()
    refused = virsh("setvcpus", NAME, "1", "--live", uri=host_a.uri)
    assert not refused.ok
    assert f"a processor cannot be taken away from domain '{NAME}' while it runs" in refused.err
    assert states(host_a) == GROWN
    virsh("setvcpus", NAME, "1", "--config", uri=host_a.uri).expect()
    virsh("setvcpus", NAME, "3", "--live", uri=host_a.uri).expect()
    assert count(host_a) == "3"


def test_one_that_can_leave_from_the_start(host_a: DaemonProcess, folder: Path) -> None:
    started(host_a, folder)
    virsh("destroy", NAME, uri=host_a.uri).expect()
    virsh("setvcpus", NAME, "2", "--config", "--hotpluggable", uri=host_a.uri).expect()
    assert states(host_a)[:2] == [
        "<vcpu id='0' enabled='yes' hotpluggable='no'/>",
        "<vcpu id='1' enabled='yes' hotpluggable='yes'/>",
    ]
    virsh("start", NAME, uri=host_a.uri).expect()
    assert count(host_a) == "2"
    wait_for(lambda: lets_go(host_a), "the guest lets go of the processor")
    assert virsh("vcpucount", NAME, "--config", "--current", uri=host_a.uri).expect().strip() == "2"
