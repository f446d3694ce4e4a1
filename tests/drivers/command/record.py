"""Records what this machine's libvirt makes of the definitions in ``tests/domain/golden``, and what its QEMU can do.

``python -m tests.drivers.command.record``, as root, on a machine of each generation: it starts a libvirtd of its own,
defines each domain, has it written as a command line (``virsh domxml-to-native``) and keeps that in
``recorded/VERSION-OF-QEMU``, one argument a line; or why it refuses the definition. No guest is started.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from culvert.drivers.qemu.abilities import machines
from culvert.drivers.qemu.abilities.machines import Machines
from tests.domain import golden
from tests.drivers.support import EMULATOR
from tests.support.libvirtd import Libvirtd
from tests.support.virsh import virsh

RECORDED = Path(__file__).with_name("recorded")


def record(folder: Path) -> Path:
    """Where it is kept; ``folder`` is for libvirtd."""
    found = asyncio.run(machines.probe(EMULATOR, folder))
    place = RECORDED / f"{found.version // 1_000_000}.{found.version // 1_000 % 1_000}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    with Libvirtd(folder / "libvirt") as libvirtd:
        libvirt = virsh("version", uri=libvirtd.uri).expect().split("library: ")[1].splitlines()[0]
        for name in golden.NAMES:
            xml = folder / f"{name}.xml"
            xml.write_text(with_uuid(golden.text(name)))
            defined = virsh("define", str(xml), uri=libvirtd.uri)
            if not defined.ok:
                (place / f"{name}.refused").write_text(defined.err.strip().splitlines()[-1] + "\n")
                continue
            # With its passwords, which libvirt does not read by itself for this.
            xml.write_text(virsh("dumpxml", "--inactive", "--security-info", name, uri=libvirtd.uri).expect())
            line = virsh("domxml-to-native", "qemu-argv", "--xml", str(xml), uri=libvirtd.uri).expect()
            (place / f"{name}.argv").write_text("".join(f"{word}\n" for word in words(line)))
            virsh("undefine", name, uri=libvirtd.uri).expect()
    (place / "qemu.json").write_text(json.dumps({"libvirt": libvirt, **about(found)}, indent=1) + "\n")
    return place


def with_uuid(xml: str) -> str:
    """``golden.UUID`` where the user names none."""
    return xml if "<uuid>" in xml else xml.replace("<memory", f"<uuid>{golden.UUID}</uuid><memory", 1)


def words(line: str) -> Iterator[str]:
    """The arguments, the emulator first."""
    told = iter(shlex.split(line))
    yield next(word for word in told if word.startswith("/"))
    # Descriptors that do not exist have another number each time.
    yield from (re.sub(r'"fd":"[0-9]+"', '"fd":"0"', word) for word in told)


def about(found: Machines) -> dict[str, object]:
    """What a test needs to know of the emulator."""
    return {
        "version": found.version,
        "flags": sorted(found.abilities.flags),
        "aliases": found.aliases,
        "machines": [one.name for one in found.machines if one.name in golden.MACHINES],
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="record-") as place:
        print(record(Path(place)))
