"""The command line as it is typed: usage errors, exit codes, output."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from culvert import __version__
from culvert.cli.main import cli
from tests.client.fake import FakeDaemon, Guest, serving


@contextmanager
def elsewhere(one: FakeDaemon, other: FakeDaemon) -> Iterator[None]:
    """Serve the fake daemons from a thread, for commands that run an event loop of their own."""
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with serving(one), serving(other):
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="fake daemons")
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["-c", "nonsense", "list"], "no 'driver://' part"),
        (["migrate", "g"], "Missing argument 'DEST-URI'"),
        (["migrate", "g", "nonsense"], "no 'driver://' part"),
        (["migrate", "g", "qemu+libssh://h/system"], "transport 'libssh'"),
        (
            ["migrate", "g", "qemu+tcp://h/system", "--offline"],
            "--offline moves a definition, so it needs --persistent",
        ),
        (["migrate", "g", "qemu+tcp://h/system", "--timeout-suspend"], "--timeout-suspend needs --timeout"),
        (["migrate", "g", "qemu+tcp://h/system", "--xml", "/does/not/exist"], "No such file"),
        (["migrate", "g", "qemu+tcp://h/system", "--bandwidth", "0"], "--bandwidth"),
        (["frobnicate"], "No such command"),
    ],
)
def test_usage_errors_are_code_2(args: list[str], words: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert words in result.output


def test_a_wrong_environment_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CULVERT_URI", "nonsense")
    result = run("list")
    assert result.exit_code == 2
    assert "$CULVERT_URI" in result.output


def test_xml_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / "g.xml"
    file.write_bytes(b"\xff\xfe\x00")
    result = run("define", str(file))
    assert result.exit_code == 2
    assert "not UTF-8" in result.output


def test_version() -> None:
    assert __version__ in run("--version").output


@pytest.mark.parametrize("args", [["list"], ["start", "g"], ["job", "g"], ["abort", "g"], ["destroy", "g"]])
def test_no_daemon_is_code_3(args: list[str], tmp_path: Path) -> None:
    uri = FakeDaemon(tmp_path / "none").uri
    result = run("-c", str(uri), *args)
    assert result.exit_code == 3
    assert "nothing was done" in result.output


def test_migrate_without_a_daemon_still_has_last_words(tmp_path: Path) -> None:
    uri = FakeDaemon(tmp_path / "none").uri
    result = run("-c", str(uri), "migrate", "--json", "g", "qemu+tcp://h/system")
    assert result.exit_code == 3
    last = json.loads(result.output.splitlines()[-1])
    assert (last["event"], last["result"], last["exit"]) == ("result", "failed", 3)


def test_a_session(tmp_path: Path) -> None:
    b = FakeDaemon(tmp_path / "b")
    a = FakeDaemon(tmp_path / "a", destination=b)
    xml = tmp_path / "g.xml"
    xml.write_text("<domain><name>g</name></domain>")
    with elsewhere(a, b):
        source = ["-c", str(a.uri)]
        assert "is defined" in run(*source, "define", str(xml)).output
        assert "is running (booted)" in run(*source, "start", "g").output

        listed = run(*source, "list", "--all", "--json").output
        assert json.loads(listed)["name"] == "g"
        assert "running (booted)" in run(*source, "list").output

        assert "job of domain 'g': none" in run(*source, "job", "g").output
        assert json.loads(run(*source, "job", "--completed", "--json", "g").output)["downtime"] == 12

        missing = run(*source, "start", "x")
        assert missing.exit_code == 1
        assert "no domain with matching name 'x'" in missing.output

        moved = run(*source, "migrate", "g", str(b.uri))
        assert moved.exit_code == 0, moved.output
        assert moved.output.splitlines()[-1] == f"guest 'g' is running (migrated) at {b.uri}"

        assert "shut off (destroyed)" in run("-c", str(b.uri), "destroy", "g").output


def test_json_lines_of_a_migration(tmp_path: Path) -> None:
    b = FakeDaemon(tmp_path / "b")
    a = FakeDaemon(tmp_path / "a", destination=b)
    a.add(Guest("g"))
    with elsewhere(a, b):
        result = run("-c", str(a.uri), "migrate", "--json", "g", str(b.uri))
    lines = [json.loads(line) for line in result.output.splitlines()]
    assert [line["event"] for line in lines if line["event"] != "progress"] == ["begin", "result"]
    assert (lines[-1]["result"], lines[-1]["location"]) == ("completed", "destination")
    assert lines[-1]["job"]["downtime_ms"] == 12
