"""The guests' domain XML."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from guests import domain_xml, linux, tiny


@pytest.mark.parametrize("machine", domain_xml.MACHINES)
@pytest.mark.parametrize("boot", ["kernel", "disk"])
def test_tiny(tmp_path: Path, machine: str, boot: str) -> None:
    guest = domain_xml.tiny_guest(
        tmp_path, "a<b", tiny.TinyParameters(mib=8, dirty_mib=4), machine=machine, boot=boot
    )
    tree = etree.fromstring(guest.xml)
    assert tree.findtext("name") == "a<b"
    assert tree.findtext("memory") == str(12 * 1024 + 8)
    assert tree.xpath("string(os/type/@machine)") == machine
    assert (tree.find("os/kernel") is not None) == (boot == "kernel")
    assert (tree.find("devices/disk") is not None) == (boot == "disk")
    kinds = [serial.get("type") for serial in tree.findall("devices/serial")]
    assert kinds == ["file", "pty"]
    assert tree.xpath("string(devices/serial/source/@append)") == "on"
    assert guest.write_xml().read_text() == guest.xml


def test_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(linux.KERNEL_VARIABLE, "/boot/some-kernel")
    guest = domain_xml.linux_guest(tmp_path, "lin", linux.LinuxParameters(mib=64))
    tree = etree.fromstring(guest.xml)
    assert tree.findtext("os/kernel") == "/boot/some-kernel"
    assert "guest_pages=16384" in (tree.findtext("os/cmdline") or "")
    assert tree.findtext("memory") == str((64 + linux.OVERHEAD_MIB) * 1024 + 8)
