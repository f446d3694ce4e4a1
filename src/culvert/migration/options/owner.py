"""Who asks for the steps of a migration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Owner(Protocol):
    """The connection that drives a migration step by step."""

    @property
    def principal(self) -> str:
        """Who is at its other end, as far as that is proved; empty where nothing is."""

    def on_close(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called when the connection ends, until what is answered is called."""
