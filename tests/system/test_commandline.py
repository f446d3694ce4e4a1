"""Words of a definition's own for QEMU's command line: where the configuration allows them, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from guests import domain_xml
from tests.support.daemon import DaemonProcess
from tests.support.guest import SMALL
from tests.support.virsh import virsh

SPACE = "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
WORDS = """<qemu:commandline><qemu:arg value='-global'/><qemu:arg value='isa-serial.iobase=0x3f8'/>
<qemu:env name='CULVERT_TEST' value='yes'/></qemu:commandline>"""


def written(folder: Path) -> Path:
    path = domain_xml.tiny_guest(folder, "words", SMALL).write_xml()
    text = path.read_text(encoding="utf-8").replace("<domain ", f"<domain {SPACE} ", 1)
    path.write_text(text.replace("</domain>", f"{WORDS}</domain>"), encoding="utf-8")
    return path


def test_it_is_kept_and_not_started(host_a: DaemonProcess, folder: Path) -> None:
    path = written(folder)
    virsh("define", str(path), uri=host_a.uri).expect()
    assert "<qemu:arg value='-global'/>" in virsh("dumpxml", "words", uri=host_a.uri).expect()
    refused = virsh("start", "words", uri=host_a.uri)
    assert "/domain/qemu:commandline is not allowed here" in refused.err
    host_a.assert_no_leftovers()


def test_where_it_is_allowed_it_is_told_and_logged(folder: Path) -> None:
    root = folder / "a"
    root.mkdir()
    with DaemonProcess(root, name="host-a", config="[qemu]\nallow_commandline = true\n") as host:
        virsh("create", str(written(folder)), uri=host.uri).expect()
        (pid,) = host.qemu_pids()
        assert b"isa-serial.iobase=0x3f8" in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"CULVERT_TEST=yes" in Path(f"/proc/{pid}/environ").read_bytes()
        assert "is tainted: custom-argv" in host.log
