"""JSON that somebody else has written: a guest, QEMU, a client, a daemon."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 64
"""Objects and arrays within each other; nothing that is meant has more than a few. XML has the same bound."""


def read(text: str) -> Any:
    """The value of ``text``. Raises ``ValueError`` when it is not JSON, or nested deeper than ``MAX_DEPTH``.

    Python's reader raises ``RecursionError`` for what is deep, and how deep depends on who calls it; what has just
    passed it fails when it is written again.
    """
    try:
        found = json.loads(text)
    except RecursionError as err:
        raise ValueError(_too_deep(MAX_DEPTH)) from err
    # As many brackets as there may be levels cannot make more levels.
    if text.count("[") + text.count("{") > MAX_DEPTH:
        check_depth(found)
    return found


def check_depth(found: Any, most: int = MAX_DEPTH) -> None:
    """Raise ``ValueError`` when ``found``, which has been read, is nested deeper than ``most``."""
    level = [found]
    for _ in range(most):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
        if not inner:
            return
        level = inner
    if any(isinstance(value, dict | list) for value in level):
        raise ValueError(_too_deep(most))


def _too_deep(most: int) -> str:
    return f"nested deeper than {most} levels"
