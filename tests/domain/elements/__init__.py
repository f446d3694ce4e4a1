"""Definitions by element, and what libvirt 9.0 with QEMU 7.2 makes of them.

``NAME.xml`` is what a user writes, ``NAME.defined.xml`` what ``virsh dumpxml --inactive --security-info`` shows,
``NAME.argv`` what ``virsh domxml-to-native`` makes of that, one argument a line and without the secret of libvirt's
own. ``python -m tests.domain.elements.record`` makes the last two anew, on Debian 12.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from culvert.domain.defaults import complete as complete_definition
from culvert.domain.definition import DomainDef
from culvert.domain.parse import parse
from tests.domain import golden

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.xml") if not path.stem.endswith(".defined"))

EMULATORS = {"i686": "/usr/bin/qemu-system-i386"}


def text(name: str) -> str:
    """What the user writes."""
    return (FOLDER / f"{name}.xml").read_text(encoding="utf-8")


def defined_text(name: str) -> str:
    """What libvirt shows of it."""
    return (FOLDER / f"{name}.defined.xml").read_text(encoding="utf-8")


def argv(name: str) -> list[str]:
    """How libvirt starts it; empty where it does not here."""
    path = FOLDER / f"{name}.argv"
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n") if path.exists() else []


def completed(xml: str) -> DomainDef:
    """``xml`` as culvert completes it."""
    definition = parse(xml)
    arch = definition.os.type.arch or "x86_64"
    if arch not in EMULATORS:
        return complete_definition(definition, golden.FACTS)
    return complete_definition(definition, replace(golden.FACTS, arch=arch, emulator=EMULATORS[arch]))
