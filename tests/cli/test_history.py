"""The history as people and programs read it, and what an operator is told before deciding."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from click.testing import CliRunner

from culvert.cli import history
from culvert.cli.main import cli
from culvert.client import Record, WaitingGuest
from tests.client.fake import RECORD

GUEST = WaitingGuest("g", UUID(int=1), "waiting for b")


def test_a_record_tells_all_of_it() -> None:
    text = "\n".join(history.lines(Record.from_json(json.dumps(RECORD))))
    for words in (
        *("migration 7 of domain 'g'", "to        qemu+tcp://b/system", "stayed, 2.500 s", "no room there"),
        *("begin3", "auto: go on", "memory_total"),
    ):
        assert words in text


def test_one_that_is_not_over_says_so() -> None:
    running = {**RECORD, "over": False, "ended": None, "step": "perform3", "direction": "in", "cause": ""}
    text = "\n".join(history.lines(Record.from_json(json.dumps(running))))
    assert "perform3 (not over)" in text
    assert "from      " in text
    assert "cause" not in text


@pytest.mark.parametrize(("here", "words"), [(True, "run twice"), (False, "it is lost")])
def test_an_operator_hears_what_is_at_stake(here: bool, words: str) -> None:
    assert words in history.warning(GUEST, here=here)


@pytest.mark.parametrize(
    "arguments",
    [
        ["resolve", "g"],
        ["resolve", "g", "--running-here", "--running-there"],
        ["history", "show", "0"],
        ["history", "--limit", "0"],
        ["history", "g", "--domain", "h"],
        ["history", "--domain=h", "g"],
        ["history", "g", "h"],
        ["history", "show"],
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ([], ("", 20)),
        (["g"], ("g", 20)),
        (["g", "--limit", "3", "--json"], ("g", 3)),
        (["--limit", "3", "g"], ("g", 3)),
        (["--limit=3", "--json", "g"], ("g", 3)),
        (["--domain", "show"], ("show", 20)),
        (["--domain=g"], ("g", 20)),
    ],
)
def test_of_a_domain_by_its_bare_name(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], asked: tuple[str, int]
) -> None:
    heard: list[tuple[str, int]] = []

    async def records(uri: object, domain: str, limit: int) -> list[Record]:
        heard.append((domain, limit))
        return []

    monkeypatch.setattr(history, "records", records)
    told = CliRunner().invoke(cli, ["history", *arguments])
    assert told.exit_code == 0, told.output
    assert heard == [asked]


def test_show_is_a_command_and_no_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    async def record(uri: object, number: int) -> Record:
        assert number == 7
        return Record.from_json(json.dumps(RECORD))

    monkeypatch.setattr(history, "record", record)
    told = CliRunner().invoke(cli, ["history", "--limit", "3", "show", "7"])
    assert "migration 7 of domain 'g'" in told.output
