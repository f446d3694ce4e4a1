"""Functions posted from other threads are called once, in order, or the poster hears that they are not."""

from __future__ import annotations

import select
import threading

from culvert.tunnel.inbox import Inbox
from tests.tunnel.support import nothing_leaks


def test_what_is_posted_is_called_in_order() -> None:
    with nothing_leaks():
        inbox, called = Inbox(), list[int]()
        assert not select.select([inbox.fd], [], [], 0)[0]
        for number in range(3):
            assert inbox.post(lambda number=number: called.append(number))  # type: ignore[misc]  # bound now
        assert select.select([inbox.fd], [], [], 0)[0]
        inbox.run()
        inbox.run()
        assert called == [0, 1, 2]
        assert not select.select([inbox.fd], [], [], 0)[0]
        inbox.close()


def test_what_is_left_is_called_when_it_closes_and_nothing_afterwards() -> None:
    inbox, called = Inbox(), list[str]()
    inbox.post(lambda: called.append("left"))
    inbox.close()
    inbox.close()
    assert called == ["left"]
    assert not inbox.post(lambda: called.append("late"))
    assert called == ["left"]


def test_many_threads_post() -> None:
    inbox, called = Inbox(), list[int]()

    def post() -> None:
        for _ in range(500):
            inbox.post(lambda: called.append(1))

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(called) < 2000:
        select.select([inbox.fd], [], [], 10)
        inbox.run()
    for thread in threads:
        thread.join()
    inbox.close()
    assert len(called) == 2000
