"""What the installed QEMU says of itself, and that it is asked only once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lxml import etree

from culvert.drivers.qemu.abilities import ability, capabilities, machines, nodeinfo
from culvert.drivers.qemu.abilities.ability import Ability
from culvert.ground import errors
from tests.drivers.support import EMULATOR, domain_xml, needs_qemu, running_driver


@needs_qemu
async def test_probe_and_memory_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await machines.probe(EMULATOR, tmp_path)
    assert first.version >= 7_000_000
    assert first.aliases["pc"].startswith("pc-i440fx-")
    assert first.aliases["q35"].startswith("pc-q35-")
    assert first.default_machine == first.aliases["pc"]
    assert "qemu64" in first.cpu_models
    assert "virtio-net-pci" in first.abilities.devices
    assert (Ability.ITCO_BITES in first.abilities) == (first.version >= 8_000_000)
    assert (Ability.MONITOR_OBJECT in first.abilities) == (first.version >= 11_001_000)
    # Both came with 8.0, told of in quite different places.
    assert (Ability.MACHINE_HPET in first.abilities) == (first.version >= 8_000_000)
    assert (Ability.INCOMING_EXIT_ON_ERROR in first.abilities) == (first.version >= 9_001_000)

    async def unexpected(emulator: str, *, kvm: bool) -> machines.Machines:
        raise AssertionError("asked again")

    monkeypatch.setattr(machines, "_ask", unexpected)
    assert await machines.probe(EMULATOR, tmp_path) == first


@needs_qemu
@pytest.mark.parametrize("damage", ["", "{}", "nonsense", '{"stamp": 1, "found": 2}'])
async def test_a_damaged_memory_is_made_anew(tmp_path: Path, damage: str) -> None:
    remembered = tmp_path / f"capabilities{EMULATOR.replace('/', '-')}.json"
    remembered.write_text(damage)
    found = await machines.probe(EMULATOR, tmp_path)
    assert json.loads(remembered.read_text())["found"]["version"] == found.version


@needs_qemu
async def test_a_running_qemu_says_the_same_as_the_probed_one(folder: Path) -> None:
    async with running_driver(folder) as driver:
        domain = await driver.create_xml(domain_xml("says"), paused=True)
        probed = driver.host.machines.abilities.flags
        assert domain.run is not None
        assert domain.run.abilities.flags == {one for one in probed if one in ability.SCHEMA}
        assert domain.run.abilities.flags


async def test_no_emulator(tmp_path: Path) -> None:
    with pytest.raises(errors.SystemCallError, match="/no/such/qemu"):
        await machines.probe("/no/such/qemu", tmp_path)


@pytest.fixture
def impostor(tmp_path: Path) -> str:
    script = tmp_path / "qemu"
    script.write_text("#!/bin/sh\necho this is not QEMU >&2\n")
    script.chmod(0o755)
    return str(script)


async def test_an_emulator_that_is_none(impostor: str, tmp_path: Path) -> None:
    with pytest.raises(errors.OperationFailed, match="this is not QEMU"):
        await machines.probe(impostor, tmp_path)


def test_capabilities() -> None:
    node = nodeinfo.NodeInfo("x86_64", 4096, 4, 2000, 2, 1, 2, 1)
    cpus = [nodeinfo.HostCpu(number, number % 2, number % 2, number // 2, str(number)) for number in range(4)]
    found = machines.Machines(
        emulator="/usr/bin/qemu",
        version=7_002_022,
        machines=(
            machines.Machine("isapc", "", 1, False),
            machines.Machine("pc-i440fx-7.1", "", 255, False, deprecated=True),
            machines.Machine("pc-i440fx-7.2", "pc", 255, True),
        ),
        cpu_models=("qemu64",),
        kvm=False,
    )
    uuid = "11111111-2222-4333-8444-000000000001"
    in_clusters = etree.fromstring(capabilities.build(uuid, node, cpus, [found], clusters=True))
    assert {cpu.get("cluster_id") for cpu in in_clusters.iterfind("host/topology/cells/cell/cpus/cpu")} == {"0"}
    assert [one.get("clusters") for one in in_clusters.iterfind("host/cpu/topology")] == ["1"]
    root = etree.fromstring(capabilities.build(uuid, node, cpus, [found]))
    assert "cluster" not in etree.tostring(root, encoding="unicode")
    assert root.findtext("host/uuid") == "11111111-2222-4333-8444-000000000001"
    assert [cell.get("id") for cell in root.iterfind("host/topology/cells/cell")] == ["0", "1"]
    assert [cpu.get("id") for cpu in root.iterfind("host/topology/cells/cell[@id='1']/cpus/cpu")] == ["1", "3"]
    assert [(m.text, m.get("canonical")) for m in root.iterfind("guest/arch/machine")] == [
        ("pc-i440fx-7.2", None),
        ("pc", "pc-i440fx-7.2"),
        ("pc-i440fx-7.1", None),
    ]
    told = [m.text for m in root.iterfind("guest/arch/machine[@deprecated='yes']")]
    assert told == ["pc-i440fx-7.1"]
    assert [domain.get("type") for domain in root.iterfind("guest/arch/domain")] == ["qemu"]
