"""Processes: detached, watched, ended only when they are the ones that were meant."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from culvert.drivers.qemu import process
from culvert.ground import errors
from tests.drivers.support import eventually

SLEEP = ["/bin/sleep", "600"]


def proc_text(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def descriptors(pid: int) -> dict[int, str]:
    place = f"/proc/{pid}/fd"
    held = {}
    for name in os.listdir(place):
        with contextlib.suppress(OSError):
            held[int(name)] = os.readlink(f"{place}/{name}")
    return held


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


async def test_output_of_this_run_only(tmp_path: Path) -> None:
    log = tmp_path / "g.log"
    log.write_text("from an earlier run\n")
    running = await process.launch("g", shell("echo out; echo err >&2; exit 3"), log_file=log, folder=tmp_path)
    async with asyncio.timeout(10):
        await running.exited.wait()
    assert (await running.output.tail()).splitlines() == ["out", "err"]
    assert running.exit_text == "exit status 3"
    assert log.read_text().startswith("from an earlier run\n")
    assert "starting up: /bin/sh -c" in log.read_text()


async def test_tail_is_bounded(tmp_path: Path) -> None:
    running = await process.launch(
        "g", shell("head -c 100000 /dev/zero | tr '\\0' x; echo end"), log_file=tmp_path / "log", folder=tmp_path
    )
    async with asyncio.timeout(10):
        await running.exited.wait()
    assert len(await running.output.tail()) == process.TAIL
    assert await running.output.tail(4) == "end\n"


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.SystemCallError, match="cannot start '/no/such/qemu'"):
        await process.launch("g", ["/no/such/qemu"], log_file=tmp_path / "log", folder=tmp_path)


async def test_it_has_a_session_of_its_own_and_only_the_descriptors_given(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    try:
        running = await process.launch("g", SLEEP, log_file=tmp_path / "log", folder=tmp_path, pass_fds=[write_end])
        assert os.getsid(running.pid) == running.pid
        # Its loader has libraries open for a moment.
        async with asyncio.timeout(10):
            await eventually(lambda: sorted(descriptors(running.pid)) == [0, 1, 2, write_end])
        held = descriptors(running.pid)
        assert held[0] == "/dev/null"
        assert held[1] == held[2] == str(tmp_path / "log")
        ignored = next(line for line in proc_text(running.pid, "status").splitlines() if line.startswith("SigIgn"))
        assert int(ignored.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0
        await running.terminate()
        assert running.exit_text == "killed by SIGTERM"
    finally:
        os.close(read_end)
        os.close(write_end)


async def test_terminate_forces_after_its_deadline(tmp_path: Path) -> None:
    running = await process.launch(
        "g",
        shell("trap '' TERM; echo ready; while :; do sleep 600; done"),
        log_file=tmp_path / "log",
        folder=tmp_path,
    )
    async with asyncio.timeout(10):
        await eventually(lambda: "ready" in running.output.path.read_text().splitlines())
    children = proc_text(running.pid, f"task/{running.pid}/children").split()
    await running.terminate(force_after=0.1)
    assert running.exit_text == "killed by SIGKILL"
    running.signal(signal.SIGKILL)  # to nobody
    for child in children:
        os.kill(int(child), signal.SIGKILL)


async def test_adopted_process_is_watched_like_a_started_one(tmp_path: Path) -> None:
    busy = "until [ $((i = i + 1)) = 300000 ]; do :; done; echo done; exec sleep 600"
    started = await process.launch("g", shell(busy), log_file=tmp_path / "log", folder=tmp_path)
    started.forget()
    started.forget()
    adopted = process.adopt("g", started.identity, started.output)
    assert adopted is not None
    assert not adopted.exited.is_set()
    async with asyncio.timeout(60):
        await eventually(lambda: "done" in started.output.path.read_text().splitlines())
    # Its clock counts in ticks of a hundredth of a second, of which that many rounds take more than one.
    assert 10_000_000 <= adopted.cpu_time_ns() < 60_000_000_000
    await adopted.terminate()
    assert adopted.exited.is_set()
    assert process.adopt("g", started.identity, started.output) is None
    assert adopted.cpu_time_ns() == 0


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another boot"}])
async def test_a_number_given_out_again_is_not_the_guest(tmp_path: Path, change: dict[str, object]) -> None:
    other = await process.launch("other", SLEEP, log_file=tmp_path / "log", folder=tmp_path)
    try:
        stale = replace(other.identity, **change)  # type: ignore[arg-type]  # a table of members to alter
        assert process.adopt("g", stale, other.output) is None
        assert not other.exited.is_set()
    finally:
        await other.terminate()


async def test_identity_of_a_name_with_brackets_and_spaces(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    running = await process.launch("g", [str(program), "600"], log_file=tmp_path / "log", folder=tmp_path)
    try:
        assert process.identify(running.pid) == running.identity
    finally:
        await running.terminate()
