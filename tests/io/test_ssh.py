"""The process that carries a connection: its words, its end, and that nothing of it stays. ssh is a script here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

from culvert.ground import errors, ssh_command, uri
from culvert.io import connector, ssh
from culvert.io.ssh import SshProcess
from tests.support.wait import wait_for

LOCALLY = 'for word; do :; done; eval "$word"'  # what sshd does with the last word


def program(folder: Path, text: str) -> str:
    path = folder / "ssh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def until_ended(process: SshProcess) -> None:
    async with asyncio.timeout(20):
        await process.ended.wait()


async def received(process: SshProcess) -> bytes:
    """Everything up to the end of file."""
    loop, found = asyncio.get_running_loop(), b""
    async with asyncio.timeout(20):
        while piece := await loop.sock_recv(process.sock, 4096):
            found += piece
    return found


async def test_bytes_go_both_ways_and_the_end_of_our_socket_is_its_end(tmp_path: Path) -> None:
    process = await ssh.start([program(tmp_path, "exec cat")])
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(process.sock, b"there and back")
    assert await loop.sock_recv(process.sock, 100) == b"there and back"
    process.sock.close()
    await until_ended(process)


async def test_its_last_words_are_there_when_the_end_is_seen(tmp_path: Path) -> None:
    process = await ssh.start([program(tmp_path, "echo first >&2; echo 'no\a more' >&2; exit 255")])
    assert await received(process) == b""
    assert process.words == "first; no? more"
    process.sock.close()


async def test_words_without_end_are_bounded(tmp_path: Path) -> None:
    process = await ssh.start([program(tmp_path, "yes words | head -c 200000 >&2; echo last >&2")])
    await received(process)
    assert len(process.words) < 2 * ssh.WORDS_MAX
    assert process.words.endswith("last")
    process.sock.close()


async def test_one_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "LEAVE_SECONDS", 0.1)
    process = await ssh.start([program(tmp_path, "trap '' TERM; while :; do sleep 1; done")])
    copy = process.sock.dup()
    process.sock.close()
    await asyncio.sleep(0.5)
    assert not process.ended.is_set()  # somebody has it still
    copy.close()
    await until_ended(process)


async def test_the_wait_for_its_end_has_one(tmp_path: Path) -> None:
    process = await ssh.start([program(tmp_path, "exec sleep 60")])
    process.sock.close()
    await process.finish(0.1)
    await until_ended(process)
    assert process.words == ""


async def test_what_cannot_be_started_is_named(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(errors.SystemCallError, match=r"cannot start '/no/ssh': No such file"):
        await ssh.start(["/no/ssh"])
    assert len(os.listdir("/proc/self/fd")) == before


async def test_cancelled_while_it_starts_nothing_runs(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    before = len(os.listdir("/proc/self/fd"))
    async with asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(ssh.start([program(tmp_path, f"echo $$ > {mark}; exec sleep 60")]), name="start")
        await asyncio.sleep(0)
        starting.cancel()
    await asyncio.get_running_loop().shutdown_default_executor()
    await asyncio.sleep(0)
    if mark.exists() and (pid := mark.read_text().strip()):
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), "nothing runs")
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("netcat", ["", "nc"])
async def test_what_is_run_at_the_other_end_leads_to_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, netcat: str
) -> None:
    """With netcat and, where there is none, without; a path may hold whatever a path may."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", netcat) if netcat else ("sh",):
        (tools / name).symlink_to(shutil.which(name) or name)
    (tools / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tools / "python3").chmod(0o755)
    address = tmp_path / 'it\'s $(a) "sock"; x'
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(str(address))
        listener.listen()
        listener.setblocking(False)
        where = uri.ConnectionURI("qemu", "ssh", host="h", parameters={"socket": str(address)})
        words = ssh_command.arguments(where, connect_seconds=5)
        script = program(tmp_path, LOCALLY)
        monkeypatch.setenv("PATH", str(tools))
        process = await ssh.start([script, *words[1:]])
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            accepted, _ = await loop.sock_accept(listener)
            stack.enter_context(accepted)
            for one, other in ((process.sock, accepted), (accepted, process.sock)):
                await loop.sock_sendall(one, b"x" * 100_000)
                found = 0
                while found < 100_000:
                    found += len(await loop.sock_recv(other, 1 << 16))
            process.sock.close()
            assert await loop.sock_recv(accepted, 1) == b""
        accepted.close()
        await until_ended(process)


async def test_a_connection_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    """The factory fails: ssh is ended, and its descriptors are closed."""
    where = uri.parse(f"qemu+ssh://h/system?command={program(tmp_path, 'exec sleep 60')}")

    def fails() -> asyncio.Protocol:
        raise errors.OperationFailed("no protocol")

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(errors.OperationFailed, match="no protocol"):
        await connector.connect(where, fails, timeout=20)
    for _ in range(2000):
        if len(os.listdir("/proc/self/fd")) <= before:
            break
        await asyncio.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before
