"""QEMU processes for the tests of the guests themselves: no daemon, one command line each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from guests import domain_xml

QEMU = os.environ.get("CULVERT_QEMU", "qemu-system-x86_64")


class Machine:
    """One QEMU with TCG, a monitor in ``folder/NAME.mon`` and whatever ``arguments`` add; a context manager."""

    def __init__(
        self, folder: Path, name: str, memory_mib: int, machine: str, arguments: Sequence[str | Path]
    ) -> None:
        self.monitor_path = folder / f"{name}.mon"
        self._argv = [
            *(
                QEMU,
                "-machine",
                machine,
                "-accel",
                "tcg",
                "-m",
                f"{memory_mib * 1024 + domain_xml.SPARED_KIB}k",
                "-nodefaults",
                "-display",
                "none",
            ),
            *("-boot", "strict=on", "-qmp", f"unix:{self.monitor_path},server=on,wait=off"),
            *(str(word) for word in arguments),
        ]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 20
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        while True:
            try:
                self._socket.connect(str(self.monitor_path))
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"QEMU did not start: {self.process.communicate()[1]}") from None
                time.sleep(0.01)
        self._file = self._socket.makefile("rw", encoding="utf-8")
        self._file.readline()
        self.command("qmp_capabilities")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._socket.close()
        self.process.kill()
        self.process.communicate()

    def command(self, name: str, **arguments: Any) -> Any:
        """Run a monitor command and return what it returns; events in between are dropped."""
        self._file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self._file.flush()
        while True:
            reply = json.loads(self._file.readline())
            if "error" in reply:
                raise AssertionError(f"{name}: {reply['error']['desc']}")
            if "return" in reply:
                return reply["return"]

    def migrate_to(self, path: Path) -> None:
        """Migrate to the QEMU that listens on ``path`` and wait until the source is done."""
        self.command("migrate-set-parameters", **{"max-bandwidth": 1 << 30})
        self.command("migrate", uri=f"unix:{path}")
        deadline = time.monotonic() + 60
        while (status := self.command("query-migrate").get("status")) != "completed":
            assert status != "failed", self.command("query-migrate")
            assert time.monotonic() < deadline, self.command("query-migrate")
            time.sleep(0.01)
