"""A guest of a stock libvirtd, copied by its live dump; and moved, its image standing on another one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.interop import Either, Pair, running
from tests.support.virsh import virsh

NAME = "copied"
DEVICES = """<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{folder}/over.qcow2'/>
<target dev='vdb' bus='virtio'/></disk>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<interface type='user'><model type='virtio'/></interface>
<graphics type='vnc' autoport='yes' listen='127.0.0.1'/><video><model type='virtio'/></video>"""


def overlay(folder: Path) -> dict[str, str]:
    base, over = folder / "base.qcow2", folder / "over.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", base, "8M"], check=True, timeout=60)
    made = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(over)]
    subprocess.run(made, check=True, timeout=60)
    return {"devices": DEVICES.format(folder=folder)}


def copied(source: Either, to: Either, folder: Path) -> None:
    """As people do: dump, define, start."""
    dump = folder / f"{source.name}.xml"
    dump.write_text(virsh("dumpxml", NAME, uri=source.uri).expect(), encoding="utf-8")
    virsh("destroy", NAME, uri=source.uri).expect()
    virsh("define", str(dump), uri=to.uri).expect()
    virsh("start", NAME, uri=to.uri).expect()
    assert virsh("domstate", NAME, uri=to.uri).expect().strip() == "running"


def test_copied_there_and_back(hosts: Pair, folder: Path) -> None:
    with running(hosts.stock, folder, NAME, machine="q35", members=overlay(folder)):
        copied(hosts.stock, hosts.culvert, folder)
        shown = virsh("dumpxml", NAME, uri=hosts.culvert.uri).expect()
        assert f"<source file='{folder}/base.qcow2'/>" in shown
        copied(hosts.culvert, hosts.stock, folder)


def test_moved_there_and_back(hosts: Pair, folder: Path) -> None:
    with running(hosts.stock, folder, NAME, machine="q35", members=overlay(folder)) as guest:
        hosts.move(guest, hosts.stock)
        hosts.move(guest, hosts.culvert)
