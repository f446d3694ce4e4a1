"""Which generation of QEMU, libvirtd and virsh this machine has, and in what generations differ for a test.

A test that has to know says so by a row here and never by a version of its own: ``generation.IO_ERROR_EVENT.here``.
A row begins at the oldest version it was seen with, which need not be the first that has it: seen were QEMU 7.2, 10.0
and 11.1, and libvirt 9.0, 11.3 and 12.9 (Debian 12, Debian 13, and its backports).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Generic, TypeVar

import pytest

from tests.support.virsh import VIRSH

Version = tuple[int, ...]
T = TypeVar("T")

_NUMBERS = re.compile(r"\b(\d+(?:\.\d+)+)")


class Program(Enum):
    """A program of others that tests run; the value: what is run to ask it."""

    QEMU = "qemu-system-x86_64"
    LIBVIRTD = "libvirtd"
    VIRSH = VIRSH


def parsed(told: str) -> Version:
    """The first version number in what a program tells of itself; () without one."""
    found = _NUMBERS.search(told)
    return tuple(int(number) for number in found[1].split(".")) if found else ()


@cache
def version(program: Program) -> Version:
    """The version of ``program`` on this machine, asked once; () where it is not."""
    if shutil.which(program.value) is None:
        return ()
    asked = subprocess.run([program.value, "--version"], capture_output=True, text=True, check=False)
    return parsed(asked.stdout)


def text(program: Program) -> str:
    """The same, as people write it."""
    return ".".join(map(str, version(program)))


def own_machine(kind: str) -> str:
    """The versioned machine type that ``kind``, pc or q35, is with this machine's QEMU."""
    family = {"pc": "pc-i440fx", "q35": "pc-q35"}[kind]
    return f"{family}-{'.'.join(map(str, version(Program.QEMU)[:2]))}"


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """What ``program`` does or says, ``rows``: (from which version on, how); the first row begins at ()."""

    program: Program
    rows: tuple[tuple[Version, T], ...]

    def at(self, given: Version) -> T:
        """How it is with version ``given``."""
        return [how for since, how in self.rows if since <= given][-1]

    @property
    def here(self) -> T:
        """How it is on this machine."""
        return self.at(version(self.program))


# ---- virsh ---------------------------------------------------------------------------------------------------------

IO_ERROR_EVENT = Fact(Program.VIRSH, (((), "io-error-reason"), ((11, 3), "io-error")))
"""What `virsh event` calls the event that tells a disk's error with its reason."""

NO_METADATA_IS_AN_ERROR = Fact(Program.VIRSH, (((), True), ((11, 3), False)))
"""`virsh metadata` where there is none: exit code 1, or an empty line."""

AUTOSTART_ONCE = Fact(Program.VIRSH, (((), False), ((11, 3), True)))
"""It has `autostart --once` and `domdisplay-reload`, and `dominfo` has the line "Autostart Once"."""

ANNOUNCES = Fact(Program.VIRSH, (((), False), ((12, 9), True)))
"""It has `domifannounce`."""

EVENTS = Fact(Program.VIRSH, (((), 27), ((11, 3), 28), ((12, 9), 30)))
"""How many kinds of events `virsh event --all` asks for."""

PROGRESS = Fact(Program.VIRSH, (((), r"\[ *\d+ %\]"), ((11, 3), r"\[ *\d+\.\d\d %\]")))
"""What `virsh migrate --verbose` shows, a pattern."""

HASWELL_LACKS = Fact(
    Program.QEMU,
    (((), ("x2apic", "tsc-deadline", "hle", "invpcid", "rtm")), ((10, 0), ("tsc-deadline", "hle", "invpcid", "rtm"))),
)
"""What of the model Haswell TCG cannot give."""

KEEPS_PAGES_IN_POSTCOPY = Fact(Program.QEMU, (((), True), ((11, 1), False)))
"""Under TCG; culvert refuses a post-copy from one that does not (docs/hazards.md)."""

needs_postcopy = pytest.mark.skipif(
    not KEEPS_PAGES_IN_POSTCOPY.here, reason="this QEMU loses pages of an emulated guest in post-copy: refused"
)


def needs(name: str) -> list[pytest.MarkDecorator]:
    """The marks of a way to migrate that is called ``name``."""
    return [needs_postcopy] if "post-copy" in name else []


# ---- libvirtd ------------------------------------------------------------------------------------------------------

IS_THE_ONE_OF_THE_TABLES = Fact(Program.LIBVIRTD, (((), True), ((11, 3), False)))
"""`tests/domain/verdicts.txt` and `spellings.py` say what libvirt 9.0 takes and refuses; later ones do otherwise."""

OUTLIVES_AN_INCOMING_QEMU = Fact(Program.LIBVIRTD, (((), True), ((11, 3), False), ((12, 9), True)))
"""It goes on when the QEMU of a tunnelled migration that it receives ends by itself; 11.3 ends, or answers nobody."""
