"""The same XML gives the same machine under culvert and under libvirt: QEMU's command lines side by side.

What the guest cannot see is left out of the comparison: chardev back ends, monitors, secrets, descriptors, nodes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.guest import running_tiny
from tests.support.interop import DIRTYING, P2P, Either, Pair, guest, running
from tests.support.virsh import virsh

# Options whose values decide what the guest sees.
SEEN = frozenset(
    {
        *("-machine", "-accel", "-cpu", "-m", "-smp", "-uuid", "-rtc", "-global", "-no-hpet", "-no-acpi", "-boot"),
        *("-device", "-object", "-netdev", "-kernel", "-initrd", "-append", "-no-shutdown", "-overcommit"),
    }
)

# Options that libvirt says in another way, of one version or of all, and what counts of them; the reasons that are
# none of the order's are in tests/drivers/command/test_generations.py (NORMAL).
AS_SAID: dict[str, Callable[[str], Any]] = {
    "-cpu": lambda said: sorted(said.split(",")),
    "-m": lambda said: int(said[5:-1]) if said.startswith("size=") else int(said) * 1024,
    "-smp": lambda said: said.replace(",clusters=1", ""),
}

NO_HPET = "<clock offset='utc'><timer name='hpet' present='no'/></clock>"
NETWORK = "<interface type='user'><mac address='52:54:00:00:00:0{n}'/><model type='{model}'/></interface>"
AGENT = "<channel type='unix'><source mode='bind'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
CDROM = "<disk type='file' device='cdrom'><target dev='{dev}' bus='{bus}'/></disk>"

SHAPES: dict[str, tuple[str, str, dict[str, str]]] = {
    "pc-nothing": ("pc", "", {}),
    "q35-nothing": ("q35", "", {}),
    "pc-desktop": (
        "pc",
        "<input type='tablet' bus='usb'/><graphics type='vnc' autoport='yes' listen='127.0.0.1'/>"
        "<video><model type='cirrus'/></video>"
        + NETWORK.format(n=1, model="e1000")
        + CDROM.format(dev="hda", bus="ide"),
        {"usb": ""},
    ),
    "q35-server": (
        "q35",
        NETWORK.format(n=1, model="virtio")
        + NETWORK.format(n=2, model="rtl8139")
        + CDROM.format(dev="sda", bus="sata")
        + AGENT
        + "<rng model='virtio'><rate bytes='1024' period='1000'/><backend model='random'>/dev/urandom</backend></rng>"
        "<watchdog model='i6300esb' action='reset'/>",
        {"usb": "", "balloon": "virtio"},
    ),
    "q35-desktop": (
        "q35",
        "<input type='tablet' bus='usb'/><input type='keyboard' bus='virtio'/>"
        "<graphics type='vnc' autoport='yes' listen='127.0.0.1'/><video><model type='virtio'/></video>",
        {"usb": "qemu-xhci", "balloon": "virtio"},
    ),
    "q35-spice": (
        "q35",
        "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>"
        "<graphics type='spice' autoport='yes'/><sound model='ich9'/><video><model type='qxl'/></video>"
        "<redirdev bus='usb' type='spicevmc'/>",
        {"usb": ""},
    ),
    "pc-sound": (
        "pc",
        "<disk type='file' device='floppy'><target dev='fda'/></disk>"
        "<graphics type='vnc' autoport='yes'/><sound model='ac97'/><sound model='ich6'/>"
        "<video><model type='qxl'/></video><video><model type='qxl'/></video>",
        {"usb": ""},
    ),
    "pc-cpu": ("pc", "", {"cpu": "<cpu mode='custom' match='exact'><model>Haswell</model></cpu>"}),
    "q35-cpu": (
        "q35",
        "",
        {
            "cpu": "<cpu mode='custom' match='exact'><model>EPYC</model><feature policy='disable' name='svm'/>"
            "<feature policy='require' name='x2apic'/></cpu>"
        },
    ),
    "pc-maximum": ("pc", "", {"cpu": "<cpu mode='maximum'/>"}),
    "pc-no-hpet": ("pc", "", {"cpu": NO_HPET}),
    "q35-no-hpet": ("q35", "", {"cpu": NO_HPET}),
    "q35-itco": ("q35", "<watchdog model='i6300esb' action='poweroff'/>", {}),
}


def arguments(host: Either) -> list[tuple[str, Any]]:
    """What the one QEMU of ``host`` was told of the guest's machine, in no order."""
    (pid,) = host.qemu_pids()
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[1:-1]
    return sorted(_pairs(words), key=repr)


def _pairs(words: list[str]) -> Iterator[tuple[str, Any]]:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in SEEN:
            value = "" if following.startswith("-") else following
            found = json.loads(value) if value.startswith("{") else value
            if isinstance(found, dict) and found.get("id") == "masterKey0":
                continue
            yield word, AS_SAID[word](found) if word in AS_SAID else _seen(found)


def _seen(found: Any) -> Any:
    """A device's properties without what it is connected to on the host."""
    if not isinstance(found, dict):
        return found
    return {key: value for key, value in found.items() if key not in ("drive", "chardev", "fd", "fds", "vhostfds")}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_command_line(hosts: Pair, folder: Path, shape: str) -> None:
    machine, devices, more = SHAPES[shape]
    made = guest(folder, "same", machine=machine, members={"devices": devices, **more})
    xml = str(made.write_xml())
    told = []
    for host in (hosts.culvert, hosts.stock):
        virsh("create", "--paused", xml, uri=host.uri).expect()
        told.append(arguments(host))
        virsh("destroy", "same", uri=host.uri).expect()
    ours, theirs = told
    assert [each for each in ours if each not in theirs] == []
    assert [each for each in theirs if each not in ours] == []


@pytest.mark.parametrize(
    "shape", ["pc-desktop", "q35-server", "q35-desktop", "q35-spice", "pc-sound", "q35-cpu", "pc-maximum", "q35-itco"]
)
def test_it_moves_and_is_still_the_same(hosts: Pair, folder: Path, shape: str) -> None:
    """Begun at libvirt, there and back: what runs at the end has the same devices, and the very same CPU."""
    machine, devices, more = SHAPES[shape]
    with running(
        hosts.stock, folder, "moves", DIRTYING, machine=machine, members={"devices": devices, **more}
    ) as moving:
        first = arguments(hosts.stock)
        hosts.move(moving, hosts.stock)
        ours = arguments(hosts.culvert)
        hosts.move(moving, hosts.culvert)
        again = arguments(hosts.stock)
        assert again == ours
        assert [each for each in again if each[0] != "-cpu"] == [each for each in first if each[0] != "-cpu"]


def test_the_cpu_that_runs_is_what_travels(hosts: Pair, folder: Path) -> None:
    """libvirt says in the cookie what of a model the guest really has; the XML travels as it was configured."""
    with running(
        hosts.stock, folder, "model", members={"cpu": "<cpu mode='custom'><model>Haswell</model></cpu>"}
    ) as moving:
        before = virsh("dumpxml", "--migratable", moving.name, uri=hosts.stock.uri).expect()
        hosts.move(moving, hosts.stock)
        (cpu,) = [value for option, value in arguments(hosts.culvert) if option == "-cpu"]
        assert {"Haswell", "rtm=off", "hypervisor=on"} <= set(cpu)
        described = folder / "described.xml"
        described.write_text(virsh("dumpxml", "--migratable", moving.name, uri=hosts.culvert.uri).expect())
        hosts.culvert.restart()
        hosts.move(moving, hosts.culvert, *P2P, "--xml", str(described))
        assert [value for option, value in arguments(hosts.stock) if option == "-cpu"] == [cpu]
        assert virsh("dumpxml", "--migratable", moving.name, uri=hosts.stock.uri).expect() == before


def test_a_machine_without_acpi(hosts: Pair, folder: Path) -> None:
    for machine in ("pc", "q35"):
        path = guest(folder, "same", machine=machine).write_xml()
        path.write_text(path.read_text().replace("<acpi/>", ""))
        told = []
        for host in (hosts.culvert, hosts.stock):
            virsh("create", "--paused", str(path), uri=host.uri).expect()
            told.append(arguments(host))
            virsh("destroy", "same", uri=host.uri).expect()
        assert told[0] == told[1]


def test_memory_that_libvirt_has_not(hosts: Pair, folder: Path) -> None:
    with running_tiny(hosts.culvert, folder) as odd:
        result = hosts.migrate(odd, hosts.culvert)
        assert "no whole number of MiB (/domain/memory)" in result.err
        assert "starting up" not in hosts.stock.log_tail()
        odd.assert_runs_only_on(hosts.culvert, hosts.stock)


MODELS = (
    *("486", "Broadwell-noTSX", "Cascadelake-Server", "Conroe", "Cooperlake", "Dhyana", "EPYC", "EPYC-IBPB"),
    *("EPYC-Milan", "EPYC-Rome", "Haswell", "Haswell-IBRS", "Icelake-Server", "Icelake-Server-noTSX", "IvyBridge"),
    *("Nehalem", "Opteron_G1", "Opteron_G3", "Opteron_G5", "Penryn", "SandyBridge", "Skylake-Client", "Westmere"),
    *("Skylake-Server", "Snowridge", "core2duo", "kvm64", "n270", "pentium3", "phenom", "qemu32", "qemu64"),
)


@pytest.mark.interop
def test_every_model_is_the_same(hosts: Pair, folder: Path) -> None:
    """What libvirt makes of a model's name is its own knowledge (cpu_map); QEMU would not notice a difference."""
    for model in MODELS:
        xml = f"<cpu mode='custom' match='exact'><model>{model}</model></cpu>"
        path = str(guest(folder, "same", members={"cpu": xml}).write_xml())
        told = []
        for host in (hosts.culvert, hosts.stock):
            virsh("create", "--paused", path, uri=host.uri).expect()
            told.append([value for option, value in arguments(host) if option == "-cpu"])
            virsh("destroy", "same", uri=host.uri).expect()
        assert told[0] == told[1], model
