"""A rule of what must not be, as a row of a table: ``validate`` and its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from culvert.ground import errors


@dataclass(frozen=True, slots=True)
class Wrong:
    """``wrong`` is true of what must not be; ``says`` why, with the thing in braces."""

    wrong: Callable[[Any], object]
    says: str
    refusal: type[errors.RequestError] = errors.ConfigUnsupported


def check_all(rules: Iterable[Wrong], things: Iterable[Any]) -> None:
    """Raise for the first rule that one of ``things`` breaks, with libvirt's code and naming the thing."""
    for thing in things:
        for rule in rules:
            if rule.wrong(thing):
                prefix = errors.PREFIXES.get(rule.refusal.code)
                raise rule.refusal(f"{prefix}: {rule.says.format(thing)}" if prefix else rule.says.format(thing))
