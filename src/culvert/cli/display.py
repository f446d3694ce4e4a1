"""Showing a migration: a live bar on a terminal, lines without one, JSON lines for programs."""

from __future__ import annotations

import json
from types import TracebackType
from typing import IO, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from culvert.cli.ending import LastWords
from culvert.cli.progress import as_text, details, summary
from culvert.client import Progress

LINE_SECONDS = 1.0  # plain lines come no faster: a log is read later, by people


class Display(Protocol):
    """What a migration is shown on; used as a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begin(self, name: str, source: str, destination: str) -> None:
        """The call is about to be made."""

    def update(self, progress: Progress, now: float) -> None:
        """The latest look at the job; ``now`` in seconds of any clock that only goes on."""

    def notice(self, text: str) -> None:
        """Something that a person should know now."""

    def end(self, ending: LastWords, final: Progress | None) -> None:
        """The last words; ``final``: the finished job's figures, where they are known."""


class PlainDisplay:
    """One line for each step forward, at most one a second."""

    def __init__(self, out: IO[str], err: IO[str]) -> None:
        self._out = out
        self._err = err
        self._last: tuple[float, str | None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.flush()

    def begin(self, name: str, source: str, destination: str) -> None:
        self._say(f"migrating '{name}' from {source} to {destination}")

    def update(self, progress: Progress, now: float) -> None:
        is_new = self._last is None or self._last[1] != progress.phase
        if not is_new and self._last is not None and now - self._last[0] < LINE_SECONDS:
            return
        self._last = (now, progress.phase)
        self._say(as_text(progress))

    def notice(self, text: str) -> None:
        print(text, file=self._err, flush=True)

    def end(self, ending: LastWords, final: Progress | None) -> None:
        if final is not None and (words := summary(final)):
            self._say(words)
        self._say(ending.words)

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


class JsonDisplay:
    """JSON lines: ``begin``, ``progress`` …, ``notice`` …, ``result`` last, always."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.flush()

    def begin(self, name: str, source: str, destination: str) -> None:
        self._put("begin", domain=name, source=source, destination=destination)

    def update(self, progress: Progress, now: float) -> None:
        self._put("progress", **progress.as_json())

    def notice(self, text: str) -> None:
        self._put("notice", text=text)

    def end(self, ending: LastWords, final: Progress | None) -> None:
        self._put(
            "result",
            result=ending.result,
            location=ending.location,
            exit=int(ending.exit),
            words=ending.words,
            job=None if final is None else final.as_json(),
        )

    def _put(self, event: str, **members: object) -> None:
        print(json.dumps({"event": event, **members}, ensure_ascii=False), file=self._out, flush=True)


class LiveDisplay:
    """A bar and the figures, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def begin(self, name: str, source: str, destination: str) -> None:
        self._print(f"migrating '{name}' from {source} to {destination}")
        self._live.update(render(Progress(phase="begin")), refresh=True)

    def update(self, progress: Progress, now: float) -> None:
        self._live.update(render(progress), refresh=True)

    def notice(self, text: str) -> None:
        self._print(text)

    def end(self, ending: LastWords, final: Progress | None) -> None:
        self._live.stop()
        if final is not None and (words := summary(final)):
            self._print(words)
        self._print(ending.words)

    def _print(self, text: str) -> None:
        # Text, so that brackets in a name or a path are not taken for markup.
        self._console.print(Text(text), soft_wrap=True)


def render(progress: Progress) -> RenderableType:
    """The live picture: phase, bar and percent in one line, the figures below."""
    table = Table.grid(padding=(0, 1))
    percent = "" if progress.percent is None else f"{progress.percent:3.0f} %"
    bar = ProgressBar(total=100, completed=progress.percent or 0, width=40, pulse=progress.percent is None)
    table.add_row(Text(f"{progress.phase or 'migrating':<8}"), bar, Text(percent))
    return Group(table, Text("  ".join(details(progress))))


def choose(console: Console, *, as_json: bool, out: IO[str], err: IO[str]) -> Display:
    """The display for this run."""
    if as_json:
        return JsonDisplay(out)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(console)
    return PlainDisplay(out, err)
