"""Names of devices in a running domain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from culvert.domain import aliases
from tests.domain import golden


def test_names_are_those_of_libvirt() -> None:
    devices = aliases.assign(golden.complete("pc-everything")).devices
    assert [disk.alias for disk in devices.disks] == [
        *("virtio-disk0", "virtio-disk1", "virtio-disk2", "ide0-0-0"),
        *("sata0-0-0", "sata0-0-1", "sata0-0-2", "sata0-0-3"),
    ]
    assert [one.alias for one in devices.controllers if one.type != "pci"] == [
        "virtio-serial0",
        "usb",
        "ide",
        "sata0",
    ]
    assert [one.alias for one in devices.controllers if one.type == "pci"] == ["pci.0"]
    assert [one.alias for one in devices.consoles] == ["serial0", "console1"]
    assert devices.channels[0].alias == "channel0"
    assert devices.memballoon is not None
    assert devices.memballoon.alias == "balloon0"


def test_images_are_numbered_from_the_last() -> None:
    devices = aliases.assign(golden.complete("pc-everything")).devices
    assert [disk.source.index if disk.source else None for disk in devices.disks] == [8, 7, 6, 5, 4, 3, 2, None]


def test_the_sata_controller_of_a_q35_is_called_ide() -> None:
    devices = aliases.assign(golden.complete("q35-everything")).devices
    assert [one.alias for one in devices.controllers if one.type == "sata"] == ["ide"]
    assert devices.controllers[-1].alias is not None
    assert "pcie.0" in [one.alias for one in devices.controllers]


@pytest.mark.parametrize("name", golden.NAMES)
def test_stripping_undoes_assigning(name: str) -> None:
    definition = golden.complete(name)
    assert aliases.strip(aliases.assign(definition)) == definition
    assert aliases.assign(aliases.assign(definition)) == aliases.assign(definition)


def test_a_name_of_the_users_own_stays() -> None:
    definition = golden.complete("pc-direct-kernel")
    disk = replace(definition.devices.disks[0], alias="ua-root")
    named = replace(definition, devices=replace(definition.devices, disks=(disk,)))
    assert aliases.assign(named).devices.disks[0].alias == "ua-root"
    assert aliases.strip(named).devices.disks[0].alias == "ua-root"
