"""A second QMP monitor of every QEMU: what it says of itself, whoever drives it.

Sources: QEMU docs/interop/qmp-spec.rst (greeting, commands with ids, events with time stamps).
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ANSWER = 60.0  # seconds for a command's answer
CONNECT = 20.0  # seconds until a QEMU that has been started listens


class MonitorError(Exception):
    """QEMU has refused a command, has not answered, or is gone."""


@dataclass(frozen=True, slots=True)
class Event:
    """``at`` is when QEMU says it happened, in seconds of ``time.monotonic``."""

    name: str
    data: dict[str, Any]
    at: float


class Monitor:
    """One QEMU's monitor at ``path``; a thread reads it. ``close`` when done.

    When a migration has completed it is asked for its figures at once, before somebody ends it: ``migration``.
    Raises ``MonitorError`` when nobody listens there in ``CONNECT`` seconds.
    """

    def __init__(self, path: Path, alive: Callable[[], bool] = lambda: True) -> None:
        self.path = path
        self.events: list[Event] = []
        self.migration: Future[dict[str, Any]] = Future()
        self._changed = threading.Condition()
        self._answers: dict[int, Future[Any]] = {}
        self._socket = self._connect(alive)
        self._file = self._socket.makefile("rb")
        self._file.readline()  # the greeting
        self._thread = threading.Thread(target=self._read, name=f"monitor {path.name}", daemon=True)
        self._thread.start()
        self.execute("qmp_capabilities")

    def _connect(self, alive: Callable[[], bool]) -> socket.socket:
        deadline = time.monotonic() + CONNECT
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(str(self.path))
                return sock
            except OSError as err:
                sock.close()
                if time.monotonic() > deadline or not alive():
                    raise MonitorError(f"no QEMU listens at {self.path}: {err}") from err
            time.sleep(0.002)

    def execute(self, name: str, **arguments: Any) -> Any:
        """Run a command; underscores in argument names become dashes. Raises ``MonitorError``."""
        try:
            return self._send(name, {key.replace("_", "-"): value for key, value in arguments.items()}).result(ANSWER)
        except (TimeoutError, OSError) as err:
            raise MonitorError(f"{name}: {err or 'no answer'}") from err

    def wait(self, wanted: Callable[[Event], bool], what: str, timeout: float) -> Event:
        """The first event that is ``wanted``, of those already there too. Raises ``MonitorError``."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for event in self.events:
                    if wanted(event):
                        return event
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    seen = ", ".join(f"{event.name} {event.data.get('status', '')}" for event in self.events)
                    raise MonitorError(f"{what}: not within {timeout:g} s; seen: {seen}")
                self._changed.wait(min(left, 0.5))

    def first(self, name: str, status: str | None = None) -> Event | None:
        """The first event of this name (and migration status) so far."""
        with self._changed:
            found = (e for e in self.events if e.name == name and (status is None or e.data.get("status") == status))
            return next(found, None)

    def close(self) -> None:
        """Let go of it; QEMU runs on. Idempotent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._file.close()
        self._socket.close()

    def _figures(self, answer: Future[Any]) -> None:
        """QEMU says that it has completed a moment before it does the sums: until then its total time is 0."""
        error = answer.exception()
        if error is not None:
            self.migration.set_exception(error)
        elif answer.result().get("total-time"):
            self.migration.set_result(answer.result())
        else:
            try:
                self._send("query-migrate", {}).add_done_callback(self._figures)
            except OSError as err:
                self.migration.set_exception(err)

    def _send(self, name: str, arguments: dict[str, Any]) -> Future[Any]:
        answer: Future[Any] = Future()
        number = id(answer)
        self._answers[number] = answer
        self._socket.sendall(json.dumps({"execute": name, "arguments": arguments, "id": number}).encode() + b"\n")
        return answer

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := self._file.readline():
                self._take(json.loads(line))
        for answer in list(self._answers.values()):
            if not answer.done():
                answer.set_exception(MonitorError("QEMU is gone"))
        with self._changed:
            self._changed.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        if "event" in message:
            stamp = message["timestamp"]["seconds"] + message["timestamp"]["microseconds"] / 1e6
            event = Event(message["event"], message.get("data", {}), stamp - time.time() + time.monotonic())
            with self._changed:
                self.events.append(event)
                self._changed.notify_all()
            if event.name == "MIGRATION" and event.data.get("status") == "completed":
                try:
                    self._send("query-migrate", {}).add_done_callback(self._figures)
                except OSError as err:  # it is gone as soon as it has said so
                    self.migration.set_exception(err)
            return
        answer = self._answers.pop(message.get("id", 0), None)
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(MonitorError(message["error"]["desc"]))
        else:
            answer.set_result(message["return"])
