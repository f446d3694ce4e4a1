"""Domains of real life: what virt-install writes for many a guest is run, or refused by the name of the element.

``virt_install/NAME.xml`` is what virt-install 4.1.0 (Debian 12) wrote against its own libvirtd 9.0.0 with QEMU 7.2:
``--print-xml 1 --virt-type qemu --osinfo SYSTEM --disk /images/disk.qcow2 --network bridge=br0``, and ``--import``,
``--cdrom``, ``--graphics``, ``--machine``, ``--boot firmware=efi``, ``--cpu`` or ``--network network=default`` as the
name says. MAC addresses are made equal.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.domain import parse as xml_parse
from culvert.domain.defaults import complete
from culvert.domain.definition import DomainDef
from culvert.domain.format import format as xml_format
from culvert.drivers.qemu.abilities.ability import NONE
from culvert.drivers.qemu.command.command import LaunchOptions, build
from tests.domain import golden

FOLDER = Path(__file__).with_name("virt_install")
RUN = sorted(path.stem for path in FOLDER.glob("*.xml"))


def text(name: str) -> str:
    return (FOLDER / f"{name}.xml").read_text()


def completed(xml: str) -> DomainDef:
    return complete(xml_parse.parse(xml), golden.FACTS)


@pytest.mark.parametrize("name", RUN)
def test_is_run(name: str) -> None:
    definition = completed(text(name))
    assert completed(xml_format(definition, secure=True)) == definition
    argv = build(
        golden.running(definition), LaunchOptions(monitor_fd=9, tap_fds={0: (20,)}, channel_directory="/run"), NONE
    )
    assert any("/images/disk.qcow2" in word for word in argv)


def test_windows_is_told_that_it_is_virtual() -> None:
    argv = build(
        golden.running(completed(text("win11-import-vnc"))), LaunchOptions(monitor_fd=9, tap_fds={0: (20,)}), NONE
    )
    [cpu] = [argv[at + 1] for at, word in enumerate(argv) if word == "-cpu"]
    for word in ("hv-relaxed=on", "hv-vapic=on", "hv-spinlocks=0x1fff", "hv-time=on"):
        assert word in cpu
    assert "base=localtime" in argv[argv.index("-rtc") + 1]
    assert any('"e1000e"' in word for word in argv)
