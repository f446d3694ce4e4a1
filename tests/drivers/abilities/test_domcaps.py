"""What a definition may ask for is what the emulator has."""

from __future__ import annotations

from lxml import etree

from culvert.drivers.qemu.abilities import domcaps
from culvert.drivers.qemu.abilities.ability import NONE, Abilities, Ability
from culvert.drivers.qemu.abilities.machines import Machine, Machines


def told(abilities: Abilities) -> etree._Element:
    machine = Machine("pc-i440fx-7.2", "pc", 255, default=True)
    known = Machines(
        emulator="/usr/bin/qemu",
        version=7_002_022,
        machines=(machine,),
        cpu_models=("EPYC", "Old"),
        kvm=False,
        abilities=abilities,
        deprecated_models=("Old",),
    )
    return etree.fromstring(domcaps.build(known, domcaps.Question(machine, "qemu")))


def values(root: etree._Element, element: str, enum: str) -> list[str | None]:
    return [one.text for one in root.iterfind(f"devices/{element}/enum[@name='{enum}']/value")]


def test_devices_that_are_there() -> None:
    root = told(Abilities(devices=frozenset({"VGA", "virtio-gpu-pci", "virtio-blk-pci"})))
    assert values(root, "video", "modelType") == ["vga", "virtio", "none"]
    assert "virtio" in values(root, "disk", "bus")
    assert values(root, "rng", "model") == []
    assert "virtio" not in values(told(Abilities(devices=frozenset({"VGA"}))), "disk", "bus")


def test_everything_where_nothing_is_known() -> None:
    root = told(NONE)
    assert values(root, "video", "modelType") == ["vga", "cirrus", "virtio", "bochs", "qxl", "ramfb", "none"]
    assert values(root, "rng", "model") == ["virtio", "virtio-transitional", "virtio-non-transitional"]
    assert values(root, "graphics", "type") == ["vnc", "spice"]


def test_spice_is_a_module_of_its_own() -> None:
    without = told(Abilities(devices=frozenset({"VGA"})))
    assert values(without, "graphics", "type") == ["vnc"]
    assert "spicevmc" not in values(without, "channel", "type")
    assert "spice" in values(told(Abilities(frozenset({Ability.SPICE}), frozenset({"VGA"}))), "graphics", "type")


def test_a_model_that_will_go() -> None:
    models = {one.text: one.get("deprecated") for one in told(NONE).iterfind("cpu/mode/model")}
    assert models == {"EPYC": None, "Old": "yes"}
