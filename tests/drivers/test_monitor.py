"""The monitor adapter against a real QEMU without a guest."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from culvert.drivers.qemu import process
from culvert.drivers.qemu.monitor import CommandRefused, Event, Monitor, MonitorGone
from culvert.ground import errors
from culvert.io import unix_sockets
from tests.drivers.support import EMULATOR, needs_qemu

pytestmark = needs_qemu


@contextlib.asynccontextmanager
async def bare_qemu(place: Path) -> AsyncIterator[tuple[process.Process, Monitor]]:
    """A QEMU without a machine, its monitor connected."""
    path = place / "monitor.sock"
    with unix_sockets.listen(path) as listener:
        argv = [
            *(EMULATOR, "-S", "-no-user-config", "-nodefaults", "-display", "none", "-machine", "none"),
            *("-chardev", f"socket,id=m,fd={listener.fileno()},server=on,wait=off", "-mon", "chardev=m,mode=control"),
        ]
        running = await process.launch(
            "bare", argv, log_file=place / "log", folder=place, pass_fds=[listener.fileno()]
        )
    try:
        async with asyncio.TaskGroup() as tasks:
            monitor = await Monitor.connect(path, tasks, name="bare", last_output=running.output.tail)
            yield running, monitor
            await monitor.close()
    finally:
        await running.terminate()


async def test_a_command_is_answered(tmp_path: Path) -> None:
    async with bare_qemu(tmp_path) as (_, monitor):
        answer = await monitor.execute("query-version")
        assert answer["qemu"]["major"] >= 7


async def test_a_refusal_carries_qemus_text_and_class(tmp_path: Path) -> None:
    async with bare_qemu(tmp_path) as (_, monitor):
        with pytest.raises(CommandRefused, match="no-such-command") as caught:
            await monitor.execute("no-such-command")
        assert caught.value.error_class == "CommandNotFound"
        assert await monitor.execute("query-name") == {}  # and the monitor works on


async def test_raw_gives_the_whole_answer_also_for_errors(tmp_path: Path) -> None:
    async with bare_qemu(tmp_path) as (_, monitor):
        assert json.loads(await monitor.raw('{"execute":"query-name","id":"mine"}')) == {"return": {}, "id": "mine"}
        assert json.loads(await monitor.raw('{"execute":"nonsense"}'))["error"]["class"] == "CommandNotFound"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"execute": 1}',
        '"query-name"',
        "[" * 100_000,
        '{"execute":"a","arguments":' + "[" * 900 + "]" * 900 + "}",
    ],
)
async def test_raw_refuses_what_is_no_command(tmp_path: Path, text: str) -> None:
    async with bare_qemu(tmp_path) as (_, monitor):
        with pytest.raises(errors.InvalidArgument):
            await monitor.raw(text)


@pytest.mark.parametrize("depth", [600, 5_000], ids=["can-be-read", "too-deep-to-read"])
async def test_a_qemu_whose_answer_is_deep_is_gone(tmp_path: Path, depth: int) -> None:
    """Whoever has got into QEMU by its guest answers what he likes, and Python 3.13 reads what older ones do not."""
    greeting = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(greeting).encode() + b"\n")
        while line := await reader.read(1 << 16):  # qemu.qmp ends no line
            asked = json.loads(line)
            deep = "[" * depth + "]" * depth if asked["execute"] == "query-name" else "{}"
            named = f',"id":{json.dumps(asked["id"])}' if "id" in asked else ""
            writer.write(f'{{"return":{deep}{named}}}\n'.encode())
        writer.close()

    path = tmp_path / "monitor.sock"
    async with await asyncio.start_unix_server(serve, path), asyncio.TaskGroup() as tasks:
        monitor = await Monitor.connect(path, tasks, name="deep")
        with pytest.raises(MonitorGone):
            await monitor.execute("query-name", timeout=20)
        async with asyncio.timeout(20):
            await monitor.closed.wait()


async def test_human_monitor(tmp_path: Path) -> None:
    async with bare_qemu(tmp_path) as (_, monitor):
        assert "paused" in await monitor.human("info status")


async def test_events_reach_subscribers_in_order_and_before_the_answer(tmp_path: Path) -> None:
    async with bare_qemu(tmp_path) as (_, monitor):
        seen: list[str] = []

        def broken(event: Event) -> None:
            raise RuntimeError("a subscriber's fault is its own")

        monitor.subscribe(broken)
        unsubscribe = monitor.subscribe(lambda event: seen.append(event["event"]))
        await monitor.execute("cont")
        assert seen == ["RESUME"]
        await monitor.execute("stop")
        assert seen == ["RESUME", "STOP"]
        unsubscribe()
        unsubscribe()
        await monitor.execute("cont")
        assert seen == ["RESUME", "STOP"]


async def test_wait_event_collects_from_its_entry_on(tmp_path: Path) -> None:
    async with bare_qemu(tmp_path) as (_, monitor), monitor.events(["STOP"]) as queue:
        await monitor.execute("cont")
        await monitor.execute("stop")
        assert (await queue.get(10.0))["event"] == "STOP"
        with pytest.raises(errors.OperationTimeout, match="STOP"):
            await queue.get(0.01)


async def test_every_wait_ends_with_the_process_and_shows_its_output(tmp_path: Path) -> None:
    async with bare_qemu(tmp_path) as (running, monitor):
        with (tmp_path / "log").open("a") as log:
            log.write("qemu: something terrible happened\n")
        waiting = [monitor.wait_event(["NEVER"], 60.0) for _ in range(3)]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(running.terminate(), name="terminate")
            results = await asyncio.gather(*waiting, return_exceptions=True)
        for result in results:
            assert isinstance(result, MonitorGone)
            assert "something terrible happened" in result.message
        assert monitor.closed.is_set()
        with pytest.raises(MonitorGone):
            await monitor.execute("query-name")
        with pytest.raises(MonitorGone):
            await monitor.wait_event(["NEVER"], 60.0)


async def test_a_cancelled_command_leaves_the_monitor_usable(tmp_path: Path) -> None:
    async with bare_qemu(tmp_path) as (_, monitor):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await monitor.execute("query-qmp-schema")
        assert await monitor.execute("query-name") == {}


async def test_a_descriptor_is_handed_over(tmp_path: Path) -> None:
    async with bare_qemu(tmp_path) as (_, monitor):
        read_end, write_end = os.pipe()
        try:
            await asyncio.gather(*(monitor.send_fd(f"fd{number}", write_end) for number in range(5)))
            for number in range(5):
                await monitor.execute("closefd", {"fdname": f"fd{number}"})
            with pytest.raises(CommandRefused, match="fd0"):
                await monitor.execute("closefd", {"fdname": "fd0"})
        finally:
            os.close(read_end)
            os.close(write_end)


async def test_qemu_listens_again_after_the_monitor_was_closed(tmp_path: Path) -> None:
    async with bare_qemu(tmp_path) as (running, monitor):
        await monitor.close()
        await monitor.close()
        assert not running.exited.is_set()
        async with asyncio.TaskGroup() as tasks:
            again = await Monitor.connect(tmp_path / "monitor.sock", tasks, name="bare")
            assert await again.execute("query-name") == {}
            await again.close()


async def test_nobody_listens(tmp_path: Path) -> None:
    async def last_words() -> str:
        return "last words"

    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(MonitorGone, match="last words"):
            await Monitor.connect(tmp_path / "absent", tasks, name="g", last_output=last_words)


async def test_a_qemu_that_hangs_has_its_time_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("culvert.drivers.qemu.monitor.COMMAND_TIMEOUT", 0.5)
    monkeypatch.setattr("culvert.drivers.qemu.monitor.MUTE_TIMEOUT", 0.25)
    async with bare_qemu(tmp_path) as (running, monitor):
        running.signal(signal.SIGSTOP)
        try:
            with pytest.raises(errors.OperationTimeout, match=r"'query-name' within 0\.1 s"):
                await monitor.execute("query-name", timeout=0.1)  # that is little for one that does not hang, too
            with pytest.raises(errors.OperationTimeout, match=r"'query-name' within 0\.5 s"):
                await monitor.execute("query-name", timeout=0.5)
            for ask in (
                monitor.execute("query-name", timeout=60),
                monitor.raw('{"execute":"query-name"}', timeout=60),
            ):
                with pytest.raises(errors.OperationTimeout, match=r"'query-name' within 0\.25 s"):
                    await ask
        finally:
            running.signal(signal.SIGCONT)
        await until_answered(monitor)
        running.signal(signal.SIGSTOP)
        try:
            with pytest.raises(errors.OperationTimeout, match=r"'query-name' within 0\.75 s"):
                await monitor.execute("query-name", timeout=0.75)
        finally:
            running.signal(signal.SIGCONT)


async def until_answered(monitor: Monitor) -> None:
    """A QEMU that goes on again works off what it was told meanwhile."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(errors.OperationTimeout):
                await monitor.execute("query-name", timeout=30)
                return


async def test_a_listener_that_does_not_greet(tmp_path: Path) -> None:
    with unix_sockets.listen(tmp_path / "mute"):
        async with asyncio.TaskGroup() as tasks:
            with pytest.raises(errors.OperationTimeout, match="did not greet"):
                await Monitor.connect(tmp_path / "mute", tasks, name="g", timeout=0.05)


async def test_who_goes_as_soon_as_it_has_greeted_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "monitor.sock"
    greeting = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(greeting).encode() + b"\r\n" + b'{"return": {}}\r\n')
        writer.write_eof()
        await reader.read()
        writer.close()

    with unix_sockets.listen(path) as listener:
        async with await asyncio.start_unix_server(greet, sock=listener), asyncio.TaskGroup() as tasks:
            with pytest.raises(MonitorGone, match="process exited while connecting to monitor"):
                await Monitor.connect(path, tasks, name="gone")
