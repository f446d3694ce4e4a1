"""Looking at a migration often enough to know how it will go on, whether or not anybody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

INTERVAL = 0.25  # seconds: rounds of a fast migration are not much longer


async def keep_looking(look: Callable[[], Awaitable[object]]) -> NoReturn:
    """``look`` again and again until cancelled; it takes the figures where they belong, and does not raise."""
    while True:
        await look()
        await asyncio.sleep(INTERVAL)
