"""``<iothreads>`` and ``<iothreadids>``: threads of QEMU that do the work of disks.

Source: docs/formatdomain, "IOThreads Allocation"; conf/domain_conf.c (virDomainDefParseIOThreads).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from culvert.domain.binding import attribute, children
from culvert.domain.scalars import Integer
from culvert.ground import errors

POOL = Integer(high=2**31 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class IOThread:
    """One thread, by its number; how many helpers it has at least and at most."""

    id: Annotated[int, attribute("id", Integer(low=1, high=2**31 - 1))]
    thread_pool_min: Annotated[int | None, attribute("thread_pool_min", POOL)] = None
    thread_pool_max: Annotated[int | None, attribute("thread_pool_max", POOL)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IOThreadIds:
    """Those that are named."""

    threads: Annotated[tuple[IOThread, ...], children("iothread", IOThread)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultIOThread:
    """How many helpers QEMU's own loop has, at least and at most."""

    thread_pool_min: Annotated[int | None, attribute("thread_pool_min", POOL)] = None
    thread_pool_max: Annotated[int | None, attribute("thread_pool_max", POOL)] = None


def complete(count: int | None, named: IOThreadIds | None) -> tuple[int | None, IOThreadIds | None]:
    """(count, ids) as libvirt has them: with a number for each, which are shown where somebody has chosen one.

    Raises ``errors.XMLError`` for a number that is there twice.
    """
    threads = named.threads if named else ()
    if len({one.id for one in threads}) < len(threads):
        twice = next(one.id for place, one in enumerate(threads) if one.id in {t.id for t in threads[:place]})
        raise errors.XMLError(f"XML error: duplicate iothread id '{twice}' found")
    wanted = max(count or 0, len(threads))
    if not wanted:
        return None, None
    return wanted, IOThreadIds(threads=_filled(wanted, threads)) if threads else None


def _filled(count: int, threads: Sequence[IOThread]) -> tuple[IOThread, ...]:
    taken = {one.id for one in threads}
    free = (number for number in range(1, count + len(threads) + 1) if number not in taken)
    return (*threads, *(IOThread(id=next(free)) for _ in range(count - len(threads))))


def of(count: int | None, named: IOThreadIds | None) -> tuple[IOThread, ...]:
    """All threads that there are by these two."""
    threads = named.threads if named else ()
    return _filled(max(count or 0, len(threads)), threads)


def told(threads: Sequence[IOThread]) -> tuple[int | None, IOThreadIds | None]:
    """How ``threads`` are written: those that have just been counted need no numbers."""
    if not threads:
        return None, None
    plain = tuple(threads) == _filled(len(threads), ())
    return len(threads), None if plain else IOThreadIds(threads=tuple(threads))
