"""Who has ended a QEMU, told in words."""

from __future__ import annotations

import pytest

from culvert.drivers.qemu import last_words

FIRST = "char device redirected to /dev/pts/7 (label charserial1)\n"

LINES = [
    (
        "2026-11-30T22:32:18.684728Z qemu-system-x86_64: terminating on signal 15 from pid 70 (/usr/bin/python3)",
        "culvertd has ended it (SIGTERM)",
    ),
    (
        "qemu-system-x86_64: terminating on signal 15 from pid 71 (/usr/bin/kill me (now))",
        "process 71 (/usr/bin/kill me (now)) has ended it by SIGTERM",
    ),
    ("qemu-system-x86_64: terminating on signal 2 from pid 71", "process 71 (gone since) has ended it by SIGINT"),
    ("qemu-system-x86_64: terminating on signal 1", "QEMU was ended by SIGHUP"),
    ("qemu-system-x86_64: terminating on signal 99 from pid 70 (x)", "culvertd has ended it (signal 99)"),
    ("qemu-system-x86_64: could not load: terminating", "qemu-system-x86_64: could not load: terminating"),
    ("", ""),
]


@pytest.mark.parametrize(("line", "words"), LINES)
def test_the_line_on_its_end(line: str, words: str) -> None:
    assert last_words.told(f"{FIRST}{line}\n", 70) == f"{FIRST}{words}\n"
