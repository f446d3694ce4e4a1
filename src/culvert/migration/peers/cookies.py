"""Cookies on their way from and to the other side, read and written beside the event loop when they are big."""

from __future__ import annotations

from culvert.ground.units import KiB
from culvert.io import apart
from culvert.migration.options import cookie
from culvert.migration.options.cookie import Cookie

BIG = 32 * KiB  # of XML: what is smaller is done in the time that handing it to a thread takes


async def parse(data: bytes) -> Cookie:
    """``cookie.parse``. Raises as that does."""
    return cookie.parse(data) if len(data) <= BIG else await apart.run(cookie.parse, data)


async def build(made: Cookie) -> bytes:
    """``cookie.build``."""
    size = sum(len(text) for text in (made.machine_xml, made.persistent_xml, made.cpu_xml) if text is not None)
    return cookie.build(made) if size <= BIG else await apart.run(cookie.build, made)
