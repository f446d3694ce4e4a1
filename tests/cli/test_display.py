"""Displays: lines, JSON lines and a live bar of the same progress."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from culvert.cli import display
from culvert.cli.display import JsonDisplay, LiveDisplay, PlainDisplay
from culvert.cli.ending import LastWords
from culvert.cli.exits import Exit
from culvert.client import Location, Progress, Result

DONE = LastWords(Exit.OK, Result.COMPLETED, Location.DESTINATION, "guest 'g' is running at B")
HALF = Progress(phase="perform", percent=50.0, rate=1024)


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, _environ={"TERM": "xterm"})


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_plain_lines() -> None:
    out, err = io.StringIO(), io.StringIO()
    with PlainDisplay(out, err) as shown:
        shown.begin("g", "A", "B")
        shown.update(HALF, now=10.0)
        shown.notice("suspending")
        shown.end(DONE, Progress(elapsed_seconds=2.0, downtime_ms=5))
    assert out.getvalue().splitlines() == [
        "migrating 'g' from A to B",
        "perform, 50 %, 1.0 KiB/s",
        "total time 2.0 s, downtime 5 ms",
        "guest 'g' is running at B",
    ]
    assert err.getvalue() == "suspending\n"


def test_plain_lines_come_once_a_second_and_for_every_phase() -> None:
    out = io.StringIO()
    shown = PlainDisplay(out, io.StringIO())
    for now, phase in [(0.0, "begin"), (0.5, "begin"), (0.6, "perform"), (1.5, "perform"), (1.7, "perform")]:
        shown.update(Progress(phase=phase), now)
    assert out.getvalue().split() == ["begin", "perform", "perform"]


def test_json_lines_end_with_the_result() -> None:
    out = io.StringIO()
    with JsonDisplay(out) as shown:
        shown.begin("g", "A", "B")
        shown.update(HALF, now=0)
        shown.notice("suspending")
        shown.end(DONE, None)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["begin", "progress", "notice", "result"]
    assert lines[0] == {"event": "begin", "domain": "g", "source": "A", "destination": "B"}
    assert lines[1]["percent"] == 50.0
    assert lines[1]["remaining"] is None
    assert lines[3] == {
        "event": "result",
        "result": "completed",
        "location": "destination",
        "exit": 0,
        "words": DONE.words,
        "job": None,
    }


def test_the_live_display_leaves_the_last_words_and_no_bar() -> None:
    console = terminal()
    with LiveDisplay(console) as shown:
        shown.begin("[g]", "A", "B")
        shown.update(HALF, now=0)
        shown.end(DONE, Progress(elapsed_seconds=2.0))
    text = written(console)
    assert "migrating '[g]' from A to B" in text  # brackets are a name's own, not markup
    assert "50 %" in text
    assert text.rstrip().endswith("guest 'g' is running at B")


def test_the_picture_holds_phase_percent_and_figures() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(display.render(Progress(phase="perform", percent=75.0, rate=2048, expected_downtime_ms=30)))
    text = written(console)
    assert "perform" in text
    assert "75 %" in text
    assert "2.0 KiB/s  expected downtime 30 ms" in text


def test_the_picture_before_anything_is_known() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(display.render(Progress()))
    assert "migrating" in written(console)


@pytest.mark.parametrize(
    ("console", "as_json", "kind"),
    [
        (Console(file=io.StringIO()), False, PlainDisplay),
        (terminal(), False, LiveDisplay),
        (terminal(), True, JsonDisplay),
        (Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"}), False, PlainDisplay),
    ],
)
def test_choose(console: Console, as_json: bool, kind: type) -> None:
    assert type(display.choose(console, as_json=as_json, out=io.StringIO(), err=io.StringIO())) is kind
