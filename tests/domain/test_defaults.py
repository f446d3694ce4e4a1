"""Defaults against what the real libvirt 9.0 made of the same XML."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from culvert.domain.address import PciAddress
from culvert.domain.defaults import complete
from culvert.domain.format import format
from culvert.domain.host import HostFacts
from culvert.domain.parse import parse
from culvert.ground import errors
from tests.domain import golden


@pytest.mark.parametrize("name", golden.NAMES)
def test_completes_as_libvirt_does(name: str) -> None:
    got = format(golden.complete(name), secure=True)
    assert golden.without_order(got) == golden.without_order(golden.defined_text(name))


@pytest.mark.parametrize("name", golden.NAMES)
def test_completing_twice_is_completing_once(name: str) -> None:
    once = golden.complete(name)
    # As libvirt's: what was added behind everything stands with its kind when it is read again.
    assert golden.without_order(format(complete(once, golden.FACTS))) == golden.without_order(format(once))


@pytest.mark.parametrize("name", golden.NAMES)
def test_what_libvirt_completed_is_complete(name: str) -> None:
    definition = parse(golden.defined_text(name))
    again = format(complete(definition, golden.FACTS), secure=True)
    assert golden.without_order(again) == golden.without_order(golden.defined_text(name))


BASE = """<domain type='{type}'><name>g</name><memory>65536</memory>{top}
<os><type machine='{machine}'>hvm</type>{boot}</os><devices>{devices}</devices></domain>"""
DISK = "<disk><source file='/d'/><target dev='{}'/>{}</disk>"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"machine": "isapc"}, "does not support machine type 'isapc'"),
        ({"machine": "pc-q35-99"}, "does not support machine type 'pc-q35-99'"),
        ({"type": "kvm"}, "does not support virt type 'kvm'"),
        ({"top": "<vcpu current='3'>2</vcpu>"}, "maxvcpus must not be less"),
        ({"top": "<cpu><topology sockets='2' cores='2' threads='1'/></cpu>"}, "topology doesn't match"),
        ({"top": "<cpu mode='maximum'><model>qemu64</model></cpu>"}, "/domain/cpu/model does not go"),
        ({"boot": "<initrd>/i</initrd>"}, "need a <kernel>"),
        ({"boot": "<boot dev='hd'/>", "devices": DISK.format("vda", "<boot order='1'/>")}, "per-device boot"),
        (
            {"devices": DISK.format("vda", "<boot order='1'/>") + DISK.format("vdb", "<boot order='1'/>")},
            "used for more than one",
        ),
        ({"devices": DISK.format("vda", "") * 2}, "target 'vda' duplicated"),
        ({"devices": "<disk><target dev='vda'/></disk>"}, "missing source information for device vda"),
        ({"devices": "<disk device='cdrom'><target dev='vda'/></disk>"}, "cannot be on the virtio bus"),
        ({"devices": DISK.format("hde", "")}, "there is one ide controller, and no 1 for a disk"),
        ({"machine": "q35", "devices": DISK.format("hda", "")}, "machine q35 has no ide controller"),
        (
            {"devices": DISK.format("hda", "") + DISK.format("hdb", "<address type='drive' unit='0'/>")},
            "same ide address",
        ),
        (
            {"devices": "".join(DISK.format(f"vd{d}", "<address type='pci' slot='5'/>") for d in "ab")},
            "double use of PCI Address 0000:00:05.0",
        ),
        ({"devices": DISK.format("vda", "<address type='pci' bus='3' slot='1'/>")}, "no such PCI controller"),
        ({"devices": DISK.format("vda", "<address type='pci' slot='1' function='3'/>")}, "double use"),
        ({"devices": "<controller type='pci' model='pcie-root-port'/>"}, "is not for machine pc"),
        ({"machine": "q35", "devices": "<controller type='pci' model='pcie-root-port'/>"}, "index='0' must be"),
        ({"devices": "<controller type='usb' index='0'/><controller type='usb' index='0'/>"}, "Multiple 'usb'"),
        ({"devices": "<controller type='usb' model='none'/><input type='tablet' bus='usb'/>"}, "needs a USB"),
        ({"devices": "<controller type='ide' model='piix3-uhci'/>"}, "ide controller model 'piix3-uhci'"),
        ({"devices": "<input type='tablet' bus='ps2'/>"}, "ps2 bus does not support tablet"),
        (
            {"devices": "<interface type='bridge'/>"},
            "No <source> 'bridge' attribute specified with <interface type='bridge'",
        ),
        ({"devices": "<interface type='network'/>"}, "No <source> 'network' attribute specified"),
        ({"devices": "<interface type='direct'/>"}, "No <source> 'dev' attribute specified"),
        ({"devices": "<interface type='user'><source bridge='b'/></interface>"}, "has no source bridge"),
        ({"devices": "<graphics type='vnc'/><graphics type='vnc'/>"}, "only 1 graphics"),
        (
            {"devices": "<video><model type='vga'/></video><video><model type='vga'/></video>"},
            "only valid as primary",
        ),
        ({"devices": "<serial type='pty'/>" * 5}, "at most four"),
        ({"devices": "<console type='pty'/>" * 2}, "Only the first console"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, str], what: str) -> None:
    values = {"type": "qemu", "top": "", "machine": "pc", "boot": "", "devices": "", **changes}
    facts = HostFacts(machines=golden.MACHINES, uuid=golden.UUID, domain_types=frozenset({"qemu"}))
    with pytest.raises(errors.RequestError, match=what):
        complete(parse(BASE.format(**values)), facts)


@pytest.mark.parametrize(
    ("written", "order"),
    [
        # As libvirt 9.0 lists them: it sorts by the bus that is written.
        (("fdb", "fda", "hda"), ["fda", "hda", "fdb"]),
        (("vdb", "hda", "vda"), ["hda", "vda", "vdb"]),
        (("vdb' bus='virtio", "hda", "vda' bus='virtio"), ["vda", "vdb", "hda"]),
    ],
)
def test_disks_are_sorted_by_the_bus_that_is_written(written: tuple[str, ...], order: list[str]) -> None:
    devices = "".join(
        f"<disk device='{'floppy' if dev.startswith('fd') else 'disk'}'><source file='/{dev[:3]}'/>"
        f"<target dev='{dev}'/></disk>"
        for dev in written
    )
    text = BASE.format(type="qemu", top="", machine="pc", boot="", devices=devices)
    assert [disk.target.dev for disk in complete(parse(text), golden.FACTS).devices.disks] == order


def test_kvm_has_defaults_of_its_own() -> None:
    facts = HostFacts(machines=golden.MACHINES, uuid=golden.UUID)

    def cpu(top: str) -> str:
        text = BASE.format(type="kvm", top=top, machine="q35", boot="", devices="")
        return format(complete(parse(text), facts))

    assert "<cpu mode='host-model' check='partial'/>" in cpu("<cpu mode='host-model'/>")
    assert "<cpu mode='host-passthrough' check='none' migratable='on'/>" in cpu("<cpu mode='host-passthrough'/>")
    assert "<cpu mode='custom' match='exact' check='partial'>" in cpu("<cpu><model>Nehalem</model></cpu>")


def test_mac_addresses_are_made_up_from_the_seed() -> None:
    cards = "<interface type='user'/><interface type='user'/>"
    plain = parse(BASE.format(type="qemu", top="", machine="pc", boot="", devices=cards))

    def macs(seed: int) -> list[str | None]:
        facts = HostFacts(machines=golden.MACHINES, uuid=golden.UUID, mac_seed=seed)
        return [card.mac for card in complete(plain, facts).devices.interfaces]

    assert len({*macs(1), *macs(2)}) == 4
    assert macs(1) == macs(1)
    assert all(mac is not None and mac.startswith("52:54:00:") for mac in macs(1))


def _cards(models: list[str]) -> str:
    return "".join(f"<interface type='user'><model type='{model}'/></interface>" for model in models)


@given(
    machine=st.sampled_from(["pc", "q35"]),
    models=st.lists(st.sampled_from(["virtio", "e1000", "e1000e", "rtl8139"]), max_size=80),
)
@settings(max_examples=60)
def test_however_many_cards_each_has_a_place_of_its_own(machine: str, models: list[str]) -> None:
    text = BASE.format(type="qemu", top="", machine=machine, boot="", devices=_cards(models))
    definition = complete(parse(text), golden.FACTS)
    places = [card.address for card in definition.devices.interfaces]
    places += [one.address for one in definition.devices.controllers if isinstance(one.address, PciAddress)]
    assert None not in places
    assert len({place.place for place in places if place is not None}) == len(places)
    assert complete(definition, golden.FACTS) == definition
