"""What the real virsh shows of a guest's memory, processors, disks and cards."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from guests import domain_xml
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.libvirt_python import libvirt_python
from tests.support.virsh import virsh

MIB = 1024 * 1024
NAME = "measured"


@pytest.fixture
def measured(host_a: DaemonProcess, folder: Path) -> DaemonProcess:
    """A daemon with a guest of everything that is counted; it boots from its disk, which holds nothing."""
    disk, raw = folder / "disk.qcow2", folder / "disk.raw"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    raw.write_bytes(bytes(MIB))
    devices = (
        f"<disk type='file'><driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda'/></disk>"
        f"<disk type='file'><driver name='qemu' type='raw'/><source file='{raw}'/><target dev='vdb'/></disk>"
        "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
        "<interface type='user'><mac address='52:54:00:01:02:03'/><model type='virtio'/></interface>"
    )
    guest = domain_xml.DomainXML(NAME, 16 * 1024 + 8, machine="q35", devices=devices, vcpus=2)
    text = guest.text().replace("<memballoon model='none'/>", "<memballoon model='virtio'/>")
    text = text.replace("<vcpu>2</vcpu>", "<vcpu current='1'>2</vcpu>")
    path = folder / f"{NAME}.xml"
    path.write_text(text)
    virsh("define", str(path), uri=host_a.uri).expect()
    virsh("start", NAME, uri=host_a.uri).expect()
    return host_a


def fields(text: str) -> dict[str, str]:
    """``name=value`` or ``name value`` lines."""
    pairs = (re.split(r"[= ]+", line.strip(), maxsplit=1) for line in text.splitlines() if line.strip())
    return {pair[0]: pair[-1] for pair in pairs}


def test_domstats_of_a_running_guest(measured: DaemonProcess, folder: Path) -> None:
    told = fields(virsh("domstats", NAME, uri=measured.uri).expect())
    assert (told["state.state"], told["state.reason"]) == ("1", "1")
    assert int(told["cpu.time"]) == int(told["cpu.user"]) + int(told["cpu.system"]) > 0
    assert told["balloon.current"] == told["balloon.maximum"] == str(16 * 1024 + 8)
    assert int(told["balloon.rss"]) > 10_000
    assert (told["vcpu.current"], told["vcpu.maximum"], told["vcpu.0.state"]) == ("1", "2", "1")
    assert "vcpu.1.state" not in told
    assert told["net.count"] == "1"
    assert told["block.count"] == "3"
    assert [told[f"block.{number}.name"] for number in range(3)] == ["vda", "vdb", "sda"]
    assert told["block.0.path"] == str(folder / "disk.qcow2")
    assert (told["block.0.capacity"], told["block.1.capacity"]) == (str(64 * MIB), str(MIB))
    assert int(told["block.0.physical"]) > 0
    assert "block.2.path" not in told
    assert told["dirtyrate.calc_mode"] == "page-sampling"


@pytest.mark.parametrize(
    ("option", "prefixes"),
    [
        ("--state", {"state"}),
        ("--cpu-total", {"cpu"}),
        ("--balloon", {"balloon"}),
        ("--vcpu", {"vcpu"}),
        ("--interface", {"net"}),
        ("--block", {"block"}),
        ("--dirtyrate", {"dirtyrate"}),
        ("--perf", set()),
        ("--iothread", set()),
        ("--memory", set()),
        ("--vm", set()),
    ],
)
def test_groups_of_domstats(measured: DaemonProcess, option: str, prefixes: set[str]) -> None:
    text = virsh("domstats", option, "--enforce", NAME, uri=measured.uri).expect()
    assert {name.split(".")[0] for name in re.findall(r"^  (\S+)=", text, re.MULTILINE)} == prefixes


def test_domstats_chooses_domains(measured: DaemonProcess, folder: Path) -> None:
    uri = measured.uri
    virsh("define", str(domain_xml.tiny_guest(folder, "other").write_xml()), uri=uri).expect()

    def named(*options: str) -> set[str]:
        return set(re.findall(r"^Domain: '(.*)'$", virsh("domstats", *options, uri=uri).expect(), re.MULTILINE))

    assert named() == {NAME, "other"}
    assert named("--list-active") == named("--list-running") == {NAME}
    assert named("--list-inactive") == named("--list-shutoff") == {"other"}
    assert named("--list-transient") == set()
    told = fields(virsh("domstats", "other", uri=uri).expect())
    assert (told["state.state"], told["vcpu.current"]) == ("5", "1")
    assert "cpu.time" not in told


def test_memory(measured: DaemonProcess) -> None:
    uri = measured.uri
    told = fields(virsh("dommemstat", NAME, uri=uri).expect())
    assert told["actual"] == str(16 * 1024 + 8)
    assert set(told) == {"actual", "last_update", "rss"}  # no driver in the guest tells more
    virsh("dommemstat", NAME, "--period", "2", "--live", "--config", uri=uri).expect()
    assert "<stats period='2'/>" in virsh("dumpxml", NAME, uri=uri).expect()
    assert "<stats period='2'/>" in virsh("dumpxml", "--inactive", NAME, uri=uri).expect()
    virsh("setmem", NAME, "12M", "--config", uri=uri).expect()
    assert f"<currentMemory unit='KiB'>{12 * 1024}<" in virsh("dumpxml", "--inactive", NAME, uri=uri).expect()
    virsh("setmem", NAME, "12M", "--live", uri=uri).expect()
    assert "higher than max memory" in virsh("setmem", NAME, "17M", "--live", uri=uri).err
    assert "cannot resize the maximum memory on an active domain" in virsh("setmaxmem", NAME, "1G", uri=uri).err
    virsh("destroy", NAME, uri=uri).expect()
    assert "not running" in virsh("dommemstat", NAME, uri=uri).err
    virsh("setmaxmem", NAME, "32M", "--config", uri=uri).expect()
    info = virsh("dominfo", NAME, uri=uri).expect()
    assert re.search(rf"Max memory: +{32 * 1024} KiB", info)
    assert re.search(rf"Used memory: +{12 * 1024} KiB", info)
    virsh("start", NAME, uri=uri).expect()
    assert "<memory unit='KiB'>32768<" in virsh("dumpxml", NAME, uri=uri).expect()


def test_processors(measured: DaemonProcess) -> None:
    uri = measured.uri
    counts = virsh("vcpucount", NAME, uri=uri).expect()
    assert re.findall(r"(\w+) +(\w+) +(\d)", counts) == [
        ("maximum", "config", "2"),
        ("maximum", "live", "2"),
        ("current", "config", "1"),
        ("current", "live", "1"),
    ]
    info = virsh("vcpuinfo", NAME, uri=uri).expect()
    assert len(re.findall(r"^VCPU:", info, re.MULTILINE)) == 1
    assert re.search(r"State: +running", info)
    assert re.search(r"CPU Affinity: +y", info)
    assert re.search(r"^ 1 +0", virsh("vcpupin", NAME, uri=uri).expect(), re.MULTILINE)
    assert re.search(r"\*: 0", virsh("emulatorpin", NAME, uri=uri).expect())
    virsh("setvcpus", NAME, "2", "--live", uri=uri).expect()
    assert virsh("vcpucount", NAME, "--live", "--current", uri=uri).expect().strip() == "2"
    assert virsh("vcpucount", NAME, "--config", "--current", uri=uri).expect().strip() == "1"
    assert len(re.findall(r"^VCPU:", virsh("vcpuinfo", NAME, uri=uri).expect(), re.MULTILINE)) == 2
    assert "greater than max allowable vcpus for the live domain: 3 > 2" in virsh("setvcpus", NAME, "3", uri=uri).err
    assert "cannot be taken away" in virsh("setvcpus", NAME, "1", "--live", uri=uri).err
    virsh("setvcpus", NAME, "4", "--config", "--maximum", uri=uri).expect()
    virsh("setvcpus", NAME, "3", "--config", uri=uri).expect()
    assert "<vcpu placement='static' current='3'>4</vcpu>" in virsh("dumpxml", "--inactive", NAME, uri=uri).expect()
    assert "cpu_time" in virsh("cpu-stats", NAME, "--total", uri=uri).expect()


def test_disks(measured: DaemonProcess, folder: Path) -> None:
    uri = measured.uri
    info = fields(virsh("domblkinfo", NAME, "vda", uri=uri).expect().replace(":", ""))
    assert info["Capacity"] == str(64 * MIB)
    assert int(info["Physical"]) == (folder / "disk.qcow2").stat().st_size
    by_path = fields(virsh("domblkinfo", NAME, str(folder / "disk.raw"), uri=uri).expect().replace(":", ""))
    assert by_path["Capacity"] == by_path["Physical"] == str(MIB)
    assert re.search(
        rf"^ vdb +{MIB} +\d+ +{MIB}$", virsh("domblkinfo", NAME, "--all", uri=uri).expect(), re.MULTILINE
    )
    assert "does not currently have a source" in virsh("domblkinfo", NAME, "sda", uri=uri).err
    assert "invalid path vdz not assigned to domain" in virsh("domblkinfo", NAME, "vdz", uri=uri).err
    stats = virsh("domblkstat", NAME, "vda", uri=uri).expect()
    assert re.findall(r"^vda (\w+) \d+$", stats, re.MULTILINE) == [
        *("rd_req", "rd_bytes", "wr_req", "wr_bytes"),
        *("flush_operations", "rd_total_times", "wr_total_times", "flush_total_times"),
    ]
    assert "number of read operations" in virsh("domblkstat", NAME, "--human", uri=uri).expect()
    assert "No errors found" in virsh("domblkerror", NAME, uri=uri).expect()
    old = libvirt_python(f"print(connection.lookupByName('{NAME}').blockStats('vda'))", uri)
    assert re.fullmatch(r"\(\d+, \d+, 0, 0, -1\)", old.strip())
    virsh("destroy", NAME, uri=uri).expect()
    info = fields(virsh("domblkinfo", NAME, "vda", uri=uri).expect().replace(":", ""))
    assert info["Capacity"] == str(64 * MIB)
    assert "not running" in virsh("domblkstat", NAME, "vda", uri=uri).err


def test_cards_without_a_device_of_the_host_are_not_counted(measured: DaemonProcess) -> None:
    assert "has no device on this host" in virsh("domifstat", NAME, "52:54:00:01:02:03", uri=measured.uri).err
    assert "'vnet9' is not a known interface" in virsh("domifstat", NAME, "vnet9", uri=measured.uri).err


def test_what_has_no_procedure_says_so(measured: DaemonProcess) -> None:
    for command in ("guestvcpus", "domdirtyrate-calc", "backup-dumpxml"):
        result = virsh(command, NAME, uri=measured.uri)
        assert not result.ok, command
        assert "this function is not supported by the connection driver: virDomain" in result.err, result
    assert virsh("domstate", NAME, uri=measured.uri).expect().strip() == "running"


def test_no_job_is_under_way_on_a_disk(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, boot="disk") as guest:
        assert "No current block job for vda" in virsh("blockjob", guest.name, "vda", uri=uri).expect()
        assert "disk 'vdz' not found in domain" in virsh("blockjob", guest.name, "vdz", uri=uri).err


def test_processors_by_an_agent_that_has_not_come(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    channel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
    with running_tiny(host_a, folder, devices=channel) as guest:
        assert "QEMU guest agent is not connected" in virsh("vcpucount", guest.name, "--guest", uri=uri).err
