"""What a destination says of a guest that it cannot run: whose fault it is, and what would have travelled; pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TypeVar

from culvert.ground import errors

E = TypeVar("E", bound=errors.RequestError)

_VERSIONED = re.compile(r"(.*-)([0-9]+)\.([0-9]+)")


def refused(error: E, *, host: str, machine: str, machines: Collection[str]) -> E:
    """``error`` of the destination ``host``, which has ``machines``, for a guest that has ``machine``."""
    return type(error)(f"{error.message}, at the destination, host '{host}'{_advice(machine, machines)}")


def _advice(machine: str, machines: Collection[str]) -> str:
    if machine in machines or not (family := _VERSIONED.fullmatch(machine)):
        return ""
    if newest := newest_of(family[1], machines):
        return f", whose newest machine type of that family is '{newest}'"
    return ", which has no machine type of that family"


def newest_of(family: str, machines: Collection[str]) -> str:
    """The machine type of ``family`` (``pc-q35-``) with the highest version; empty for none."""
    parsed = [match for name in machines if (match := _VERSIONED.fullmatch(name)) and match[1] == family]
    newest = max(parsed, key=lambda match: (int(match[2]), int(match[3])), default=None)
    return newest.string if newest else ""
