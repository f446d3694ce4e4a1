"""virsh plugs devices that are no disks and no cards into a running guest and out of it; it moves with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from guests import domain_xml, watch
from tests.support.daemon import DaemonProcess
from tests.support.guest import SMALL, RunningGuest
from tests.support.virsh import virsh

TOP = """<controller type='pci' model='pcie-root'/>
<controller type='pci' model='pcie-root-port'/><controller type='pci' model='pcie-root-port'/>
<controller type='pci' model='pcie-root-port'/><controller type='pci' model='pcie-root-port'/>
<controller type='virtio-serial' index='0'/>
<graphics type='spice'/>"""

DEVICES = {
    "rng": "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
    "input": "<input type='keyboard' bus='usb'/>",
    "channel": """<channel type='unix'><source mode='bind' path='{folder}/c.sock'/>
        <target type='virtio' name='x'/></channel>""",
    "redirdev": "<redirdev bus='usb' type='spicevmc'/>",
    "input-virtio": "<input type='tablet' bus='virtio'/>",
}


@contextmanager
def running(host: DaemonProcess, folder: Path) -> Iterator[RunningGuest]:
    """A guest with USB and with room."""
    made = domain_xml.tiny_guest(folder, "tiny", SMALL, machine="q35", devices=TOP)
    made = replace(made, domain=replace(made.domain, usb=""))
    with watch.SerialWatch(made.serial) as follow:
        virsh("create", str(made.write_xml()), uri=host.uri).expect()
        follow.wait_running()
        yield RunningGuest(made, follow)


def plugged(guest: RunningGuest, host: DaemonProcess, kind: str) -> list[str]:
    text = virsh("dumpxml", guest.name, uri=host.uri).expect()
    return re.findall(rf"<{kind}\b(?:[^>]*/>|.*?</{kind}>)", text, re.DOTALL)


def objects(guest: RunningGuest, host: DaemonProcess) -> str:
    told = '{"execute":"qom-list","arguments":{"path":"/objects"}}'
    chardevs = virsh("qemu-monitor-command", guest.name, '{"execute":"query-chardev"}', uri=host.uri).expect()
    return virsh("qemu-monitor-command", guest.name, told, uri=host.uri).expect() + chardevs


def test_each_comes_and_goes(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running(host_a, folder) as guest:
        plain = virsh("dumpxml", guest.name, uri=host_a.uri).expect()
        before = objects(guest, host_a)
        files = []
        for name, device in DEVICES.items():
            path = folder / f"{name}.xml"
            path.write_text(device.format(folder=folder), encoding="utf-8")
            files.append(path)
            virsh("attach-device", guest.name, str(path), "--live", uri=host_a.uri).expect()
        for kind in ("rng", "channel", "redirdev"):
            assert len(plugged(guest, host_a, kind)) == 1
        virsh("migrate", "--live", "--p2p", guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        virsh("migrate", "--live", "--p2p", guest.name, host_a.tcp_uri, uri=host_b.uri).expect()
        guest.assert_runs_only_on(host_a, host_b)
        for path in files:
            virsh("detach-device", guest.name, str(path), "--live", uri=host_a.uri)
        # The guest has no driver for PCI: what is on USB and on the serial bus goes at once.
        assert not plugged(guest, host_a, "redirdev")
        assert not plugged(guest, host_a, "channel")
        after = objects(guest, host_a)
        assert before.count("charchannel") == after.count("charchannel")
        assert "charredir0" not in after
        assert len(plain.splitlines()) < len(virsh("dumpxml", guest.name, uri=host_a.uri).expect().splitlines())


@pytest.mark.parametrize(
    ("device", "what"),
    [
        ("<memory model='dimm'><target><size unit='MiB'>64</size></target></memory>", "maxMemory is missing"),
        ("<input type='mouse' bus='ps2'/>", "cannot be hot plugged"),
        ("<rng model='virtio'><backend model='random'>/dev/null/none</backend></rng>", ""),
    ],
)
def test_what_cannot_come_leaves_nothing(host_a: DaemonProcess, folder: Path, device: str, what: str) -> None:
    with running(host_a, folder) as guest:
        before = virsh("dumpxml", guest.name, uri=host_a.uri).expect(), objects(guest, host_a)
        path = folder / "device.xml"
        path.write_text(device, encoding="utf-8")
        refused = virsh("attach-device", guest.name, str(path), "--live", uri=host_a.uri)
        assert not refused.ok
        assert what in refused.err
        assert (virsh("dumpxml", guest.name, uri=host_a.uri).expect(), objects(guest, host_a)) == before


def test_a_module_of_memory(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    """It is more memory at once, and goes with the guest, where QEMU has put it."""
    made = domain_xml.tiny_guest(folder, "tiny", SMALL, machine="q35")
    path = made.write_xml()
    kib = made.domain.memory_kib
    text = path.read_text(encoding="utf-8")
    text = text.replace("<memory", "<maxMemory slots='2' unit='MiB'>512</maxMemory><memory", 1)
    nodes = f"<cpu><numa><cell cpus='0' memory='{kib}'/></numa></cpu>"
    assert "<cpu" not in text
    path.write_text(text.replace("<devices>", f"{nodes}<devices>", 1), encoding="utf-8")
    module = folder / "module.xml"
    module.write_text("<memory model='dimm'><target><size unit='MiB'>64</size><node>0</node></target></memory>")
    with watch.SerialWatch(made.serial) as follow:
        virsh("create", str(path), uri=host_a.uri).expect()
        follow.wait_running()
        guest = RunningGuest(made, follow)
        before = int(re.findall(r"Max memory: +([0-9]+)", virsh("dominfo", guest.name, uri=host_a.uri).expect())[0])
        virsh("attach-device", guest.name, str(module), "--live", uri=host_a.uri).expect()
        after = int(re.findall(r"Max memory: +([0-9]+)", virsh("dominfo", guest.name, uri=host_a.uri).expect())[0])
        assert after == before + 64 * 1024
        shown = plugged(guest, host_a, "memory")[-1]
        assert re.search(r"<address type='dimm' slot='0' base='0x[0-9a-f]+'/>", shown)
        virsh("migrate", "--live", "--p2p", guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        assert plugged(guest, host_b, "memory")[-1] == shown
