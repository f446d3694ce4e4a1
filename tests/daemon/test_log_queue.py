"""The daemon's log: written beside the loop, nothing lost at the end, bounded in memory and on the disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from culvert.daemon import log_queue
from culvert.daemon.log_queue import LogFile, LogQueue, OneLine


class Target(logging.Handler):
    """Keeps the lines; ``open`` lets it write."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.begun = threading.Event()
        self.lines: list[str] = []
        self.setFormatter(OneLine("%(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.begun.set()
        self.open.wait(30)
        self.lines.append(self.format(record))


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger that only the test's handlers hear."""
    made = logging.Logger("test")
    yield made
    for handler in made.handlers:
        handler.close()


def test_who_logs_waits_for_nobody_and_the_words_are_those_of_that_moment(log: logging.Logger) -> None:
    target = Target()
    changes = ["before"]
    with LogQueue([target]) as queue:
        log.addHandler(queue)
        log.info("it is %s", changes)
        changes.append("after")
        log.info("a line\nof a peer")
        assert target.lines == []
        target.open.set()
    assert target.lines == ["INFO it is ['before']", "INFO a line\\x0aof a peer"]


def test_what_is_logged_before_an_exception_ends_it_is_written(log: logging.Logger) -> None:
    target = Target()
    target.open.set()

    def fail() -> None:
        with LogQueue([target]) as queue:
            log.addHandler(queue)
            for number in range(1000):
                log.info("%d", number)
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                log.exception("last")
                raise

    with pytest.raises(ZeroDivisionError):
        fail()
    assert target.lines[:1000] == [f"INFO {number}" for number in range(1000)]
    assert target.lines[1000].startswith("ERROR last\nTraceback")


def test_what_does_not_fit_is_counted(log: logging.Logger) -> None:
    target = Target()
    with LogQueue([target], most=3) as queue:
        log.addHandler(queue)
        log.info("first")
        assert target.begun.wait(30)
        for number in range(5):
            log.info("%d", number)
        target.open.set()
    assert target.lines[0] == "INFO first"
    assert target.lines[1].endswith("nothing could be written for some time: 2")
    assert target.lines[2:] == ["INFO 0", "INFO 1", "INFO 2"]


def test_a_target_that_takes_nothing_does_not_hold_up_the_end(
    log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_queue, "FLUSH_TIMEOUT", 0.1)
    target = Target()
    with LogQueue([target], most=1) as queue:
        log.addHandler(queue)
        log.info("first")
        assert target.begun.wait(30)
        log.info("second")
    assert target.lines == []
    target.open.set()


def test_the_file_is_bounded(log: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_queue, "FILE_SIZE", 100)
    path = tmp_path / "culvertd.log"
    log.addHandler(LogFile(path))
    for number in range(100):
        log.info("line %04d", number)
    parts = [path, *(tmp_path / f"culvertd.log.{number}" for number in range(1, log_queue.BACKUPS + 1))]
    assert sorted(tmp_path.iterdir()) == sorted(parts)
    assert all(part.stat().st_size <= 100 for part in parts)
    text = "".join(part.read_text() for part in reversed(parts))
    last = text.splitlines()
    assert last == [f"line {number:04d}" for number in range(100 - len(last), 100)]


def test_a_file_that_cannot_be_written_is_told_of_once(
    log: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.addHandler(LogFile(tmp_path / "absent" / "culvertd.log"))
    for _ in range(10):
        log.info("line")
    told = capsys.readouterr().err
    assert told.count("cannot write log file") == 1
    assert "No such file or directory" in told
