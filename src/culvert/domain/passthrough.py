"""``<qemu:commandline>`` and its like: what QEMU is told past libvirt, in a name space of its own.

Source: docs/drvqemu, "Pass-through of arbitrary QEMU commands"; conf/qemu_domain.c for the order of output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain.binding import attribute, children
from culvert.domain.scalars import ANY_TEXT, TEXT, Pattern, one_of
from culvert.domain.xml import QEMU_SPACE

SPACE = QEMU_SPACE
VARIABLE = Pattern(r"[A-Za-z_][A-Za-z0-9_]*", "name of a variable")


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuArgument:
    """One word of QEMU's command line."""

    value: Annotated[str, attribute("value", ANY_TEXT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuVariable:
    """One of its environment."""

    name: Annotated[str, attribute("name", VARIABLE)]
    value: Annotated[str | None, attribute("value", TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuCommandline:
    """Words behind those that the rest of the definition makes."""

    arguments: Annotated[tuple[QemuArgument, ...], children(f"{SPACE}arg", QemuArgument)] = ()
    variables: Annotated[tuple[QemuVariable, ...], children(f"{SPACE}env", QemuVariable)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuCapability:
    """By libvirt's name."""

    capability: Annotated[str, attribute("capability", TEXT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuCapabilities:
    """What QEMU is to be taken to be able to, or not."""

    add: Annotated[tuple[QemuCapability, ...], children(f"{SPACE}add", QemuCapability)] = ()
    remove: Annotated[tuple[QemuCapability, ...], children(f"{SPACE}del", QemuCapability)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuDeprecation:
    """What QEMU does where it is told what it will not know for long."""

    behavior: Annotated[str, attribute("behavior", one_of("none", "omit", "reject", "crash"))]
