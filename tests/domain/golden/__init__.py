"""Definitions, and what libvirt 9.0 with QEMU 7.2 makes of them.

``NAME.xml`` is what a user writes; ``NAME.defined.xml`` what ``virsh dumpxml --inactive --security-info`` shows after
``virsh define``; ``NAME.argv`` the command line of the started process, one argument a line. Recorded from libvirtd
9.0.0 on Debian 12; in the command lines descriptors of sockets and files handed over are written as the paths they
stand for, and the masterKey secret is left out.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from culvert.domain import start
from culvert.domain.defaults import complete as complete_definition
from culvert.domain.definition import DomainDef
from culvert.domain.disk_source import BackingStore
from culvert.domain.host import HostFacts
from culvert.domain.parse import parse
from tests.domain import ovmf

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.xml") if not path.stem.endswith(".defined"))

MACHINES = {
    "pc": "pc-i440fx-7.2",
    "q35": "pc-q35-7.2",
    **{name: name for name in ("pc-i440fx-7.2", "pc-i440fx-6.2", "pc-q35-7.2")},
}
UUID = "11111111-2222-4333-8444-000000000001"
FACTS = HostFacts(machines=MACHINES, uuid=UUID)


def text(name: str) -> str:
    """What the user writes."""
    return (FOLDER / f"{name}.xml").read_text()


def defined_text(name: str) -> str:
    """What libvirt makes of it; the UUID is ours where the user names none."""
    return (FOLDER / f"{name}.defined.xml").read_text()


def argv(name: str) -> list[str]:
    """How libvirt starts it."""
    return (FOLDER / f"{name}.argv").read_text().rstrip("\n").split("\n")


def complete(name: str) -> DomainDef:
    """The definition as culvert completes it."""
    return complete_definition(parse(text(name)), FACTS)


def defined(xml: str, like: DomainDef) -> DomainDef:
    """``xml`` completed on a host that knows what ``like``'s host knows."""
    return complete_definition(parse(xml), replace(FACTS, uuid=like.uuid or UUID))


def running(definition: DomainDef, *, port: int = 5900, nvram: str = ovmf.VARIABLES) -> DomainDef:
    """``definition`` as it is when QEMU is started: aliases, a VNC port, its firmware, the images known to have no
    backing file."""
    devices = definition.devices
    graphics = tuple(replace(one, port=port) if one.autoport else one for one in devices.graphics)
    disks = tuple(
        one if one.backing_store or one.source is None else replace(one, backing_store=BackingStore())
        for one in devices.disks
    )
    definition = ovmf.started(definition, nvram)
    return start.prepare(replace(definition, devices=replace(devices, graphics=graphics, disks=disks)))


def tap_count(definition: DomainDef) -> int:
    return sum(one.type != "user" for one in definition.devices.interfaces)


def without_order(lines: str) -> str:
    """Controllers sorted: in which order those added last are listed is not the same, and means nothing."""
    blocks = re.findall(r"    <controller (?:[^\n]*/>|.*?</controller>)\n", lines, re.DOTALL)
    rest = lines
    for block in blocks:
        rest = rest.replace(block, "", 1)
    return rest + "".join(sorted(blocks))
