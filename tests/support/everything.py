"""A guest that has everything, changed in every way while it runs, and what is known of it before and after a move.

``changed`` makes it so, ``View.of`` is what its daemon says of it and how its QEMU sees it. ``DIFFERS`` is the table
of what may be different after a move; everything else is the same on every host.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.domain import golden
from tests.support.guest import Host
from tests.support.virsh import virsh

PASSWORD = "later-01"
URI = "http://example.org/notes"

DEVICES = """
<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<channel type='pty'><target type='virtio' name='org.example.0'/></channel>
<input type='tablet' bus='usb'/>
<graphics type='vnc' autoport='yes' listen='127.0.0.1' passwd='first-1'/>
<video><model type='vga'/></video>
<watchdog model='i6300esb' action='none'/>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"""

PORTS = 12  # for all that is there from the start, and what comes

CARD = "<interface type='user'><mac address='52:54:00:00:00:02'/><model type='virtio'/></interface>"


def with_everything(xml: str) -> str:
    """``xml`` of a tiny guest with all that can be said before it runs."""
    told = (
        "<title>all of it</title><description>said before</description>"
        f"<metadata><n:note xmlns:n='{URI}'>before</n:note></metadata>"
    )
    xml = xml.replace("<memory ", f"{told}<memory ", 1)
    xml = re.sub("<vcpu>1</vcpu>", "<vcpu current='1'>3</vcpu>", xml)
    xml = re.sub("<controller type='usb' model='none'/>", "", xml)
    # A q35 has places for as many devices to be plugged in as its XML has ports.
    ports = "<controller type='pci' index='0' model='pcie-root'/>" + "".join(
        f"<controller type='pci' index='{index}' model='pcie-root-port'/>" for index in range(1, PORTS + 1)
    )
    ports = ports if "machine='q35'" in xml else ""
    balloon = f"{ports}{DEVICES}<memballoon model='virtio'><stats period='2'/></memballoon>"
    return re.sub("<memballoon model='none'/>", balloon, xml)


def changed(host: Host, name: str, folder: Path) -> None:
    """Everything that can be changed while it runs: devices and processors in mixed order, screen, memory, words."""

    def run(*arguments: str) -> str:
        return virsh(*arguments, uri=host.uri).expect()

    def given(file: str, text: str) -> str:
        (folder / file).write_text(text)
        return str(folder / file)

    def disk(target: str) -> str:
        (folder / f"{target}.img").write_bytes(bytes(1 << 20))
        return (
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
            f"<source file='{folder}/{target}.img'/><target dev='{target}' bus='virtio'/></disk>"
        )

    run("attach-device", name, given("vdc.xml", disk("vdc")), "--live")
    run("setvcpus", name, "2", "--live")
    run("attach-device", name, given("card.xml", CARD), "--live")
    run("attach-device", name, given("vdb.xml", disk("vdb")), "--live", "--config")
    run("setvcpus", name, "3", "--live")
    shown = run("dumpxml", name, "--security-info")
    screen = re.search(r"<graphics.*?</graphics>", shown, re.DOTALL)
    assert screen is not None
    run("update-device", name, given("screen.xml", screen[0].replace("first-1", PASSWORD)), "--live")
    run("dommemstat", name, "--period", "3", "--live")
    run("desc", name, "said later", "--live")
    run("metadata", name, URI, "--key", "n", "--set", "<note>later</note>", "--live")


DIFFERS = (
    (r"(<domain [^>]*) id='\d+'", r"\1"),  # a number of the daemon's own
    (r"(<graphics [^>]*)port='-?\d+'", r"\1port=''"),  # chosen at each start
    (r"<source path='/dev/pts/\d+'/>", "<source path='a pty'/>"),  # the kernel's choice
    (r"tty='/dev/pts/\d+'", "tty='a pty'"),
    (r"<source mode='bind' path='[^']*'/>", "<source mode='bind' path='a socket'/>"),  # in a folder of the run
    (r" index='\d+'/>(\s*<backingStore|\s*<target)", r"/>\1"),  # numbers of images, in the order they were opened
    (r" order='\d+'", ""),  # QEMU is given the processors by their numbers
)
"""What may differ in the XML: pattern → what is put in its place."""

LIBVIRT_ADDS = (
    (r" *<resource>\s*<partition>/machine</partition>\s*</resource>\n", ""),  # where it puts every guest
    (r" check='full'>", " check='none'>"),  # the CPU that runs, feature by feature
    (r" *<feature policy='require' name='(hypervisor|lahf_lm)'/>\n", ""),
    (r" *<backingStore/>\n", ""),  # it has looked at the image
)
"""What may differ in the XML of a guest that has been on a libvirtd as well."""

ASKED: dict[str, tuple[str, ...]] = {
    "query-status": ("status",),
    "query-cpus-fast": ("cpu-index", "props", "qom-path"),
    "query-hotpluggable-cpus": ("props", "type", "qom-path"),
    "query-block": ("qdev", "removable", "locked"),
    "query-pci": ("bus", "devices"),
    "query-chardev": ("label", "frontend-open"),
    "query-vnc-servers": ("id", "auth"),
    "query-memory-size-summary": ("base-memory",),
    "query-balloon": ("actual",),
    "query-memdev": ("id", "size", "share"),
    "query-name": ("name",),
    "query-uuid": ("UUID",),
}
"""Question to QEMU → members of each answer that are the same on every host."""


@dataclass(frozen=True)
class View:
    """What a daemon says of a guest, and how its QEMU sees it; without what differs."""

    live: str
    inactive: str
    qemu: dict[str, Any]

    @classmethod
    def of(cls, host: Host, name: str, *, running: bool = True) -> View:
        """The guest as it is now on ``host``; ``running`` False: its definition alone."""
        inactive = _plain(virsh("dumpxml", name, "--inactive", "--security-info", uri=host.uri).expect())
        if not running:
            return cls("", inactive, {})
        live = _plain(virsh("dumpxml", name, "--security-info", uri=host.uri).expect())
        return cls(live, inactive, {command: _asked(host, name, command) for command in ASKED})

    def assert_same(self, before: View, but: Sequence[tuple[str, str]] = ()) -> None:
        """Raise ``AssertionError`` with what is not as ``before``; ``but``: more rows for ``DIFFERS``."""
        was, now = ("\n".join(view._lines()) for view in (before, self))
        for pattern, put in but:
            was, now = re.sub(pattern, put, was), re.sub(pattern, put, now)
        told = difflib.unified_diff(was.splitlines(), now.splitlines(), "before", "now", n=1, lineterm="")
        found = "\n".join(told)
        assert not found, found

    def assert_same_machine(self, before: View) -> None:
        """``assert_same`` for QEMU's view alone: another daemon shows a guest in words of its own."""
        View("", "", self.qemu).assert_same(View("", "", before.qemu))

    def _lines(self) -> list[str]:
        asked = [f"{command}: {json.dumps(one)}" for command, told in self.qemu.items() for one in told]
        return [*self.live.splitlines(), "--", *self.inactive.splitlines(), "--", *asked]


def _plain(xml: str) -> str:
    for pattern, put in DIFFERS:
        xml = re.sub(pattern, put, xml)
    return golden.without_order(xml)  # of controllers: those that every host adds by itself come last


def _asked(host: Host, name: str, command: str) -> Any:
    answer = virsh("qemu-monitor-command", name, json.dumps({"execute": command}), uri=host.uri).expect()
    told = json.loads(answer)["return"]
    entries = told if isinstance(told, list) else [told]
    return sorted(({key: one[key] for key in ASKED[command] if key in one} for one in entries), key=json.dumps)
