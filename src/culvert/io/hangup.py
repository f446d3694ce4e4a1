"""Notice that the other end has gone, on a socket that is not being read.

A selector that asks "readable?" cannot be asked while unread data waits, for it would answer for ever; so the end
behind that data stays unseen. ``EPOLLRDHUP`` (epoll_ctl(2)) tells of the end alone. It is asked in an epoll set of
its own, whose descriptor becomes readable when there is something to tell, and any event loop can wait for that.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import Callable

log = logging.getLogger(__name__)


class HangupWatch:
    """Calls ``callback`` once when the socket with descriptor ``fd`` is closed or reset by its other end.

    ``stop`` before the socket is closed here; it is idempotent. When descriptors have run out nothing is watched,
    and the end is noticed as soon as the socket is read again.
    """

    def __init__(self, fd: int, callback: Callable[[], object]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._epoll: select.epoll | None = None
        try:
            self._epoll = select.epoll()
            self._epoll.register(fd, select.EPOLLRDHUP)
        except OSError as err:
            log.warning("hangup not watched error=%s", err)
            self._close()
            return
        self._loop.add_reader(self._epoll.fileno(), self._gone)

    def stop(self) -> None:
        """Watch no more."""
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._close()

    def _gone(self) -> None:
        self.stop()
        self._callback()

    def _close(self) -> None:
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
