"""The table ``verdicts.txt``: definitions, and what libvirt 9.0 says of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).parent / "verdicts.txt"

SHAPE = """<domain type='qemu'><name>g</name>{top}{mem}{vcpu}
<os><type arch='x86_64' machine='{machine}'>hvm</type>{os}</os>{features}{cpu}{clock}
<devices>{devices}</devices></domain>"""
USUAL = {"mem": "<memory>65536</memory>", "features": "<features><acpi/></features>"}
PLACES = ("top", "mem", "vcpu", "os", "features", "cpu", "clock", "devices")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A definition; ``code``: libvirt's for its refusal, 0 where it takes it."""

    name: str
    code: int
    xml: str


def _rows() -> Iterator[Verdict]:
    for number, line in enumerate(TABLE.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("#"):
            continue
        code, machine, *parts = line.split("\t")
        given = dict(zip(parts[::2], parts[1::2], strict=True))
        filled = {place: given.get(place, USUAL.get(place, "")) for place in PLACES}
        yield Verdict(f"line {number}", int(code), SHAPE.format(machine=machine, **filled))


ROWS = tuple(_rows())
