"""Every way in which a channel ends other than well: who is told what, and that nothing remains."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Coroutine

import pytest

from culvert.ground import errors
from culvert.ground.units import KiB, MiB
from culvert.tunnel import relay
from culvert.tunnel.limits import ChannelLimits
from culvert.tunnel.pump import Pump
from culvert.tunnel.statistics import PumpState
from tests.tunnel import support
from tests.tunnel.support import channel, drain, exchange, feed, take, until

STUCK = ChannelLimits(window=64 * KiB, inbound=64 * KiB, chunk=16 * KiB)


@pytest.mark.parametrize("which", ["a", "b"])
async def test_whoever_aborts_the_other_is_told_the_reason(which: str) -> None:
    async with channel() as joined:
        await joined.connect(support.tcp())
        giving_up, other = (joined.a, joined.b) if which == "a" else (joined.b, joined.a)
        giving_up.pump.abort("the guest was stopped")
        giving_up.pump.abort("again")
        with pytest.raises(errors.OperationAborted, match=r"test-. was given up: the guest was stopped"):
            await giving_up.pump.wait()
        with pytest.raises(errors.StreamFailed, match="the other end gave up: the guest was stopped"):
            await other.pump.wait()
        assert await drain(giving_up.guest) == b""
        assert await drain(other.guest) == b""
        await giving_up.pump.closed()
        await other.pump.closed()
        assert other.losses.empty()


async def test_an_abort_overtakes_data_that_is_not_on_its_way_yet() -> None:
    async with channel(ChannelLimits(window=8 * MiB)) as joined:
        await joined.connect(support.tcp())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(until_broken(feed(joined.a.guest, bytes(64 * MiB))), name="feed")
            await until(lambda: joined.b.pump.statistics.bytes_out > 0)
            joined.a.pump.abort("enough")
            tasks.create_task(until_broken(drain(joined.b.guest)), name="drain")
            with pytest.raises(errors.StreamFailed, match="enough"):
                await joined.b.pump.wait()
        assert joined.b.pump.statistics.bytes_out < 64 * MiB


async def until_broken(work: Coroutine[None, None, object]) -> None:
    """QEMU writes and reads until its socket is shut down."""
    with contextlib.suppress(ConnectionError):
        await work


async def test_abort_without_a_connection() -> None:
    async with channel() as joined:
        joined.a.pump.abort("nobody came")
        with pytest.raises(errors.OperationAborted, match="nobody came"):
            await joined.a.pump.wait()
        await joined.a.pump.closed()
        with pytest.raises(errors.OperationInvalid, match="is over"):
            await joined.a.pump.attach(support.tcp()[0], 0)
        assert await joined.a.pump.detach() == 0


async def test_what_qemu_has_written_still_goes_out_when_the_pump_is_closed() -> None:
    async with channel() as joined:
        await joined.connect(support.tcp())
        payload = os.urandom(50_000)
        await asyncio.get_running_loop().sock_sendall(joined.a.guest, payload)
        joined.a.pump.close(1.0)
        joined.a.pump.close(0)
        assert await drain(joined.b.guest) == payload  # and says nothing more, and does not end
        with pytest.raises(errors.OperationAborted, match="closed before both ends had ended"):
            await joined.a.pump.wait()
        await joined.a.pump.closed()
        assert joined.a.pump.statistics.state is PumpState.OVER
        assert "closed the connection" in (await joined.b.losses.get()).message


async def test_closing_hears_the_other_end_out() -> None:
    async with channel() as joined:
        await joined.connect(support.tcp())
        joined.a.guest.close()
        joined.a.pump.close(support.DEADLINE)
        assert await drain(joined.b.guest) == b""
        joined.b.guest.close()  # later than the other one has said all it had to
        await joined.b.pump.wait()
        assert joined.b.losses.empty()


async def test_closing_waits_for_nobody_longer_than_it_lingers() -> None:
    async with channel(STUCK) as joined:
        await joined.connect(support.tcp())
        here = joined.a
        await until(lambda: _fill(here.guest))  # b's QEMU reads nothing
        here.pump.close(0.05)
        with pytest.raises(errors.OperationAborted):
            await here.pump.wait()
        await here.pump.closed()


def _fill(guest: socket.socket) -> bool:
    """Write; whether nothing more is taken."""
    try:
        guest.send(bytes(256 * KiB))
    except BlockingIOError:
        return True
    return False


async def test_both_may_close_while_the_end_is_on_its_way() -> None:
    async with channel() as joined:
        await joined.connect(support.tcp())
        async with asyncio.TaskGroup() as tasks:
            for end, data in ((joined.a, b"out"), (joined.b, b"back")):
                tasks.create_task(feed(end.guest, data), name="feed")
        for end in (joined.a, joined.b):
            end.pump.close(support.DEADLINE)
        for end in (joined.a, joined.b):
            with contextlib.suppress(errors.OperationAborted):  # the other was through first, and did not wait
                await end.pump.wait()
            await end.pump.closed()
            assert await drain(end.guest) in (b"", b"out", b"back")


async def test_closing_ends_at_once_when_the_connection_is_lost() -> None:
    async with channel(STUCK) as joined:
        await joined.connect(support.tcp())
        await until(lambda: _fill(joined.a.guest))
        joined.a.pump.close(support.DEADLINE * 2)
        await joined.b.pump.detach()
        with pytest.raises(errors.OperationAborted):
            await joined.a.pump.wait()
        await joined.a.pump.closed()


async def test_a_qemu_that_closes_with_bytes_unread_has_ended() -> None:
    """What still comes for it is for nobody, and the other side may say all it has to say."""
    async with channel(STUCK) as joined:
        await joined.connect(support.tcp())
        await until(lambda: _fill(joined.a.guest))
        joined.b.guest.close()
        assert await drain(joined.a.guest) == b""
        await feed(joined.a.guest, bytes(4 * MiB))
        joined.a.guest.close()
        await joined.wait()


async def test_what_comes_for_a_qemu_that_has_ended_is_for_nobody() -> None:
    async with channel() as joined:
        await joined.connect(support.tcp())
        await feed(joined.a.guest, b"all there is")
        assert await take(joined.b.guest, 12) == b"all there is"
        joined.a.guest.close()
        await feed(joined.b.guest, bytes(MiB))
        assert await drain(joined.b.guest) == b""
        await joined.wait()


async def test_close_before_start_and_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    with support.nothing_leaks():
        for _ in range(2):
            ours, guest = relay.channel()
            pump = Pump("test-idle", ours, on_lost=print)
            pump.close()
            pump.abort("again")
            await pump.closed()
            with pytest.raises(errors.OperationAborted):
                await pump.wait()
            guest.close()

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        ours, guest = relay.channel()
        pump = Pump("test-refused", ours, on_lost=print)
        with pytest.raises(errors.InternalError, match="no thread for its worker"):
            pump.start()
        await pump.closed()
        guest.close()


async def test_a_mistake_in_the_worker_is_told_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with channel() as joined:
        await joined.connect(support.tcp())

        def mistake() -> int:
            raise KeyError("page")

        monkeypatch.setattr(joined.a.pump._worker._qemu, "read", mistake)
        await asyncio.get_running_loop().sock_sendall(joined.a.guest, b"x")
        with pytest.raises(errors.InternalError, match="KeyError"):
            await joined.a.pump.wait()
        with pytest.raises(errors.StreamFailed, match="internal error"):
            await joined.b.pump.wait()
        assert "channel=test-a: the worker failed" in caplog.text


async def test_a_cancelled_attach_is_made_all_the_same() -> None:
    async with channel() as joined:
        here, there = support.tcp()
        async with asyncio.TaskGroup() as tasks:
            attaching = tasks.create_task(joined.a.pump.attach(here, 0), name="attach")
            await asyncio.sleep(0)
            attaching.cancel()
        assert attaching.cancelled()
        await joined.b.pump.attach(there, 0)
        await exchange(joined, b"out", b"back")


def test_the_worker_survives_a_loop_that_is_closed() -> None:
    with support.nothing_leaks():
        made: list[Pump] = []
        ours, guest = relay.channel()

        async def run() -> None:
            made.append(Pump("test-orphan", ours, on_lost=print))
            made[0].start()

        asyncio.run(run())
        made[0].abort("the loop is closed")
        made[0]._thread.join(support.DEADLINE)
        assert not made[0]._thread.is_alive()
        guest.close()
