"""What a definition asks for and an emulator does not have is refused by its element."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from culvert.drivers.qemu.abilities import machines
from culvert.drivers.qemu.abilities.ability import Abilities, Ability
from culvert.drivers.qemu.abilities.machines import Machine, Machines
from culvert.drivers.qemu.command import fit
from culvert.ground import errors
from tests.domain import golden
from tests.drivers.support import EMULATOR, needs_qemu


def known(*, without: str = "", flags: frozenset[Ability] = frozenset(Ability)) -> Machines:
    """An emulator with everything that the golden definitions ask for, but for one type of device."""
    devices = {driver for name in golden.NAMES for _, driver in fit._drivers(golden.running(golden.complete(name)))}
    return Machines(
        emulator="/usr/bin/qemu-system-x86_64",
        version=7_002_000,
        machines=tuple(Machine(name, "", 255, default=False) for name in set(golden.MACHINES.values())),
        cpu_models=(),
        kvm=False,
        abilities=Abilities(flags, frozenset(fit._ALSO.get(one, one) for one in devices - {without})),
    )


@pytest.mark.parametrize("name", golden.NAMES)
def test_what_it_has_is_not_refused(name: str) -> None:
    fit.check(golden.complete(name), known())


@pytest.mark.parametrize(
    ("name", "without", "says"),
    [
        ("q35-virt-install", "virtio-vga", "domain configuration does not support video model 'virtio'"),
        ("q35-virt-install", "virtio-blk-pci", "/domain/devices/disk[1]: The 'virtio-blk-pci' device is not"),
        ("q35-virt-install", "qemu-xhci", "/domain/devices/controller[1]: The 'qemu-xhci' device is not supported"),
        ("pc-ich9-usb", "ich9-usb-uhci2", "The 'ich9-usb-uhci2' device is not supported by this QEMU binary"),
        ("q35-virt-install", "virtio-balloon-pci", "/domain/devices/memballoon: The 'virtio-balloon-pci' device"),
        ("pc-bridge-and-tap", "e1000", "/domain/devices/interface[2]: The 'e1000' device is not supported"),
    ],
)
def test_what_it_lacks_is_named(name: str, without: str, says: str) -> None:
    with pytest.raises(errors.ConfigUnsupported) as refused:
        fit.check(golden.complete(name), known(without=without))
    assert says in refused.value.message
    assert refused.value.message.endswith("(emulator '/usr/bin/qemu-system-x86_64')")


@pytest.mark.parametrize(
    ("name", "element"), [("q35-spice", "/domain/devices/graphics[1]"), ("pc-screens", "/domain/devices/graphics[")]
)
def test_one_that_has_no_spice(name: str, element: str) -> None:
    with pytest.raises(errors.ConfigUnsupported) as refused:
        fit.check(golden.complete(name), known(flags=frozenset()))
    assert element in refused.value.message
    assert "spice graphics are not supported with this QEMU" in refused.value.message


def test_a_machine_type_that_has_gone() -> None:
    with pytest.raises(errors.ConfigUnsupported, match=r"does not support machine type 'pc-i440fx-7\.2'"):
        fit.check(golden.complete("pc-minimal"), replace(known(), machines=(Machine("pc-q35-7.2", "", 1, True),)))


def test_nothing_is_refused_by_what_is_not_known() -> None:
    fit.check(golden.complete("q35-everything"), replace(known(), abilities=Abilities()))


@needs_qemu
async def test_a_real_one_has_what_the_golden_definitions_ask_for(tmp_path: Path) -> None:
    """By the names that QEMU lists, where some are written by another."""
    real = await machines.probe(EMULATOR, tmp_path)
    for name in golden.NAMES:
        fit.check(golden.complete(name), replace(real, machines=known().machines))
