"""Waiting for something that somebody else does."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE = 0.05  # seconds between two looks


def wait_for(condition: Callable[[], object], what: str, timeout: float = 30) -> None:
    """Wait until ``condition()`` holds. Raises ``AssertionError`` naming ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(PAUSE)
