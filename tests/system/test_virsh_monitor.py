"""The real virsh talks to QEMU's monitor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny, state_of
from tests.support.virsh import Result, virsh
from tests.support.wait import wait_for


def command(uri: str, guest: str, *words: str) -> Result:
    """``virsh qemu-monitor-command``."""
    return virsh("qemu-monitor-command", guest, *words, uri=uri)


def answer(result: Result) -> Any:
    """The JSON that it printed."""
    return json.loads(result.expect())


def test_machine_and_human_monitor(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        query = json.dumps({"execute": "query-status"})
        told = command(uri, guest.name, query)
        assert answer(told)["return"]["status"] == "running"
        assert told.out.strip().count("\n") == 0
        pretty = command(uri, guest.name, "--pretty", query)
        assert answer(pretty) == answer(told)
        assert pretty.out.startswith('{\n  "return": {\n')
        assert answer(command(uri, guest.name, "query-status")) == answer(told)
        with_id = answer(command(uri, guest.name, json.dumps({"execute": "query-name", "id": "mine"})))
        assert with_id["return"] == {"name": guest.name}
        assert answer(command(uri, guest.name, "--return-value", query))["status"] == "running"
        assert "VM status: running" in command(uri, guest.name, "--hmp", "info", "status").expect()
        assert "unknown command" in command(uri, guest.name, "--hmp", "nonsense").expect()


def test_errors_of_qemu_are_answers(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        assert answer(command(uri, guest.name, "nonsense"))["error"]["class"] == "CommandNotFound"
        bad = json.dumps({"execute": "query-status", "arguments": {"x": 1}})
        assert answer(command(uri, guest.name, bad))["error"]["class"] == "GenericError"
        for rubbish in ("", "{", "[1,2]", "12", '{"execute": 5}', "{}"):
            result = command(uri, guest.name, rubbish)
            assert not result.ok or "error" in answer(result), (rubbish, result)
        assert state_of(guest.uuid, host_a) == "running"
        guest.watch.wait_verified()


def test_what_happens_behind_the_back_is_noticed(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        command(uri, guest.name, "stop").expect()
        wait_for(lambda: state_of(guest.uuid, host_a) == "paused", "it is paused")
        command(uri, guest.name, "--hmp", "cont").expect()
        wait_for(lambda: state_of(guest.uuid, host_a) == "running", "it runs")
        command(uri, guest.name, "quit")
        wait_for(lambda: state_of(guest.uuid, host_a) == "", "it is gone")
        host_a.assert_no_leftovers()
