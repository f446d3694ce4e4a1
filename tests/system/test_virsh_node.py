"""What the real virsh shows of the host, of the guests it can run, and of what libvirt keeps beside domains."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from lxml import etree

from guests import domain_xml
from tests.support.daemon import DaemonProcess
from tests.support.libvirt_python import libvirt_python
from tests.support.virsh import virsh


def test_what_the_host_is_doing(uri: str, host_a: DaemonProcess) -> None:
    memory = dict(re.findall(r"^(\w+) *: +(\d+) KiB$", virsh("nodememstats", uri=uri).expect(), re.MULTILINE))
    assert set(memory) == {"total", "free", "buffers", "cached"}
    assert int(memory["total"]) > int(memory["free"]) > 0
    virsh("nodememstats", "--cell", "0", uri=uri).expect()
    assert "there is no NUMA node 77" in virsh("nodememstats", "--cell", "77", uri=uri).err
    times = virsh("nodecpustats", uri=uri).expect()
    assert re.findall(r"^(\w+):", times, re.MULTILINE) == ["user", "system", "idle", "iowait"]
    virsh("nodecpustats", "--cpu", "0", "--percent", uri=uri).expect()
    assert "Invalid cpuNum" in virsh("nodecpustats", "--cpu", "7777", uri=uri).err
    assert re.search(r"Total: +\d+ KiB", virsh("freecell", uri=uri).expect())
    assert re.search(r"^ +0: +\d+ KiB$", virsh("freecell", "--all", uri=uri).expect(), re.MULTILINE)
    assert "out of range" in virsh("freecell", "--cellno", "77", uri=uri).err
    assert re.search(r"^4KiB: \d+$", virsh("freepages", "--all", uri=uri).expect(), re.MULTILINE)
    cpus = virsh("nodecpumap", uri=uri).expect()
    assert re.search(rf"CPUs online: +{os.sysconf('SC_NPROCESSORS_ONLN')}\n", cpus)
    assert virsh("sysinfo", uri=uri).ok == bool(list(Path("/sys/class/dmi/id").glob("*")))


def test_which_processors_there_are(uri: str, host_a: DaemonProcess) -> None:
    models = virsh("cpu-models", "x86_64", uri=uri).expect().split()
    assert {"qemu64", "Skylake-Server", "EPYC"} <= set(models)
    assert not [model for model in models if re.search(r"-v\d+$", model)]
    assert "cannot find architecture" in virsh("cpu-models", "vax", uri=uri).err


@pytest.mark.parametrize("machine", ["pc", "q35", "pc-q35-7.2"])
def test_domain_capabilities(uri: str, host_a: DaemonProcess, machine: str) -> None:
    text = virsh("domcapabilities", "--virttype", "qemu", "--machine", machine, uri=uri).expect()
    root = etree.fromstring(text)
    assert root.findtext("domain") == "qemu"
    assert (root.findtext("machine") or "").startswith("pc-q35-" if "q35" in machine else "pc-i440fx-")
    modes = {mode.get("name"): mode.get("supported") for mode in root.iterfind("cpu/mode")}
    assert modes == {"host-passthrough": "no", "maximum": "yes", "host-model": "no", "custom": "yes"}
    usable = {one.text: one.get("usable") for one in root.iterfind("cpu/mode[@name='custom']/model")}
    assert (usable["qemu64"], usable["Cooperlake"]) == ("yes", "no")
    buses = [one.text for one in root.iterfind("devices/disk/enum[@name='bus']/value")]
    assert buses == ["ide", "fdc", "scsi", "virtio", "usb", "sata"]  # libvirt has no ide on a q35
    assert [one.text for one in root.iterfind("devices/graphics/enum[@name='type']/value")] == ["vnc", "spice"]
    assert root.find("devices/hostdev").get("supported") == "no"  # type: ignore[union-attr]  # or it fails
    assert root.find("devices/filesystem").get("supported") == "yes"  # type: ignore[union-attr]


def test_capabilities_of_what_is_not_there(uri: str, host_a: DaemonProcess) -> None:
    for options, words in (
        (("--machine", "vax"), "the machine 'vax' is not supported"),
        (("--arch", "vax"), "to serve 'vax' architecture"),
        (("--virttype", "xen"), "the virt type 'xen' is not supported"),
        (("--emulatorbin", "/bin/true"), "is not the one that is served"),
    ):
        assert words in virsh("domcapabilities", *options, uri=uri).err


@pytest.mark.parametrize(
    "command",
    ["net-list", "pool-list", "iface-list", "nodedev-list", "nwfilter-list", "nwfilter-binding-list", "secret-list"],
)
def test_lists_are_empty(uri: str, host_a: DaemonProcess, command: str) -> None:
    options = ["--all"] if command in ("net-list", "pool-list", "iface-list") else []
    lines = virsh(command, *options, uri=uri).expect().split("\n")
    assert not [line for line in lines[2:] if line.strip()]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("net-info", "x"), "Network not found: no network with matching name 'x'"),
        (("pool-info", "x"), "Storage pool not found: no storage pool with matching name 'x'"),
        (("vol-info", "/x"), "Storage volume not found: no storage vol with matching path '/x'"),
        (("nwfilter-dumpxml", "x"), "Network filter not found: no nwfilter with matching name 'x'"),
        (("iface-dumpxml", "x"), "Interface not found: couldn't find interface named 'x'"),
        (("nodedev-dumpxml", "x"), "Node device not found: no node device with matching name 'x'"),
        (
            ("secret-dumpxml", "11111111-2222-3333-4444-555555555555"),
            "Secret not found: no secret with matching uuid",
        ),
    ],
)
def test_look_ups_find_nothing(uri: str, host_a: DaemonProcess, command: tuple[str, ...], words: str) -> None:
    result = virsh(*command, uri=uri)
    assert not result.ok
    assert words in result.err


def test_snapshots_and_checkpoints(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    virsh("define", str(domain_xml.tiny_guest(folder, "t").write_xml()), uri=uri).expect()
    for command in ("snapshot-list", "checkpoint-list"):
        lines = virsh(command, "t", uri=uri).expect().split("\n")
        assert not [line for line in lines[2:] if line.strip()]
    assert "no domain snapshot with matching name 'x'" in virsh("snapshot-info", "t", "x", uri=uri).err
    assert "no domain checkpoint with matching name 'x'" in virsh("checkpoint-info", "t", "x", uri=uri).err
    assert "has no current snapshot" in virsh("snapshot-current", "t", uri=uri).err


def test_every_empty_list_of_libvirt_python(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    virsh("define", str(domain_xml.tiny_guest(folder, "t").write_xml()), uri=uri).expect()
    out = libvirt_python(
        """
        for name in ("Networks", "StoragePools", "Interfaces", "Devices", "NWFilters", "Secrets", "NWFilterBindings"):
            assert getattr(connection, f"listAll{name}")() == [], name
        for name in ("Networks", "DefinedNetworks", "StoragePools", "DefinedStoragePools", "Interfaces",
                     "DefinedInterfaces", "NWFilters", "Secrets"):
            assert getattr(connection, f"numOf{name}")() == 0, name
            listing = {"NWFilters": "listNWFilters"}.get(name, f"list{name}")
            assert getattr(connection, listing)() == [], name
        assert connection.numOfDevices(None) == 0 and connection.listDevices(None) == []
        domain = connection.lookupByName("t")
        assert domain.snapshotNum() == 0 and domain.snapshotListNames() == [] and domain.listAllSnapshots() == []
        assert not domain.hasCurrentSnapshot() and domain.listAllCheckpoints() == []
        expected = {
            libvirt.VIR_ERR_NO_NETWORK: lambda: connection.networkLookupByUUIDString("1" * 32),
            libvirt.VIR_ERR_NO_STORAGE_POOL: lambda: connection.storagePoolLookupByTargetPath("/x"),
            libvirt.VIR_ERR_NO_STORAGE_VOL: lambda: connection.storageVolLookupByKey("x"),
            libvirt.VIR_ERR_NO_INTERFACE: lambda: connection.interfaceLookupByMACString("52:54:00:00:00:01"),
            libvirt.VIR_ERR_NO_NODE_DEVICE: lambda: connection.nodeDeviceLookupByName("x"),
            libvirt.VIR_ERR_NO_NWFILTER: lambda: connection.nwfilterLookupByName("x"),
            libvirt.VIR_ERR_NO_SECRET: lambda: connection.secretLookupByUsage(1, "x"),
            libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT: lambda: domain.snapshotLookupByName("x"),
            libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT: lambda: domain.checkpointLookupByName("x"),
            libvirt.VIR_ERR_NO_DOMAIN_METADATA: lambda: domain.metadata(2, "http://x"),
            libvirt.VIR_ERR_NO_DOMAIN: lambda: connection.lookupByName("x"),
        }
        for code, call in expected.items():
            try:
                call()
            except libvirt.libvirtError as error:
                assert error.get_error_code() == code, (code, error, error.get_error_code())
            else:
                raise AssertionError(code)
        print("done")
        """,
        uri,
    )
    assert out.strip() == "done"


def test_processors_compared(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    def written(*models: str) -> str:
        path = folder / "cpus.xml"
        path.write_text("".join(f"<cpu><model>{model}</model></cpu>\n" for model in models))
        return str(path)

    kind = ("--virttype", "qemu")
    assert "is a superset" in virsh("hypervisor-cpu-compare", *kind, written("Nehalem"), uri=uri).expect()
    result = virsh("hypervisor-cpu-compare", *kind, "--error", written("Cooperlake"), uri=uri)
    assert "Host CPU does not provide required features: " in result.err
    assert "avx512" in result.err
    assert "Unknown CPU model vax" in virsh("hypervisor-cpu-compare", *kind, written("vax"), uri=uri).err
    assert (
        "is not known to culvert"
        in virsh("hypervisor-cpu-compare", "--virttype", "kvm", written("qemu64"), uri=uri).err
    )
    one = virsh("hypervisor-cpu-baseline", *kind, written("Nehalem", "Nehalem"), uri=uri).expect()
    assert ">Nehalem</model>" in one
    assert "<feature" not in one
    two = virsh("hypervisor-cpu-baseline", *kind, written("Nehalem", "Conroe"), uri=uri).expect()
    assert ">Conroe</model>" in two
    assert (
        "name='ssse3'" in virsh("hypervisor-cpu-baseline", *kind, "--features", written("Conroe"), uri=uri).expect()
    )


def test_merged_memory_is_what_the_kernel_says(uri: str) -> None:
    told = dict(re.findall(r"^\s+shm_(\w+) +(\d+)$", virsh("node-memory-tune", uri=uri).expect(), re.MULTILINE))
    place = Path("/sys/kernel/mm/ksm")
    assert set(told) == {name for name in SHARED if (place / name).exists()}
    for name in ("pages_to_scan", "sleep_millisecs"):
        assert name not in told or int(told[name]) == int((place / name).read_text())


SHARED = {
    *("pages_to_scan", "sleep_millisecs", "pages_shared", "pages_sharing", "pages_unshared", "pages_volatile"),
    *("full_scans", "merge_across_nodes"),
}


def test_the_older_questions_about_processors(uri: str, folder: Path) -> None:
    path = folder / "cpu.xml"
    host = "<arch>x86_64</arch><signature family='6' model='6' stepping='3'/>"
    path.write_text(f"<cpu>{host}<model>qemu64</model><topology sockets='1' cores='2' threads='1'/></cpu>")
    assert "superset" in virsh("cpu-compare", str(path), uri=uri).expect()
    assert "<model fallback='forbid'>qemu64</model>" in virsh("cpu-baseline", str(path), uri=uri).expect()
    path.write_text(path.read_text().replace("</model>", "</model><feature name='nosuch'/>"))
    assert not virsh("cpu-compare", str(path), uri=uri).ok


def test_guests_that_cannot_be_asked_about(uri: str) -> None:
    refused = virsh("domcapabilities", "--virttype", "nonsense", uri=uri).err
    assert "invalid argument: unknown virttype: nonsense" in refused
    refused = virsh("domcapabilities", "--virttype", "xen", uri=uri).err
    assert "the virt type 'xen' is not supported by emulator" in refused
    refused = virsh("domcapabilities", "--arch", "s390x", uri=uri).err
    assert "unsupported configuration: unable to find any emulator to serve 's390x' architecture" in refused
