"""What QEMU has said last, for people: who has ended it is not left as numbers; pure."""

from __future__ import annotations

import re
import signal

# softmmu/runstate.c, qemu_kill_report. A signal of the kernel's has no sender.
_ENDED = re.compile(
    r"^.*: terminating on signal (?P<signal>\d+)(?: from pid (?P<pid>\d+)(?: \((?P<program>.*)\))?)?$", re.MULTILINE
)


def told(output: str, own_pid: int) -> str:
    """``output`` with QEMU's line on the signal that ends it in words; ``own_pid`` is this daemon's: its own doing is
    no fault of QEMU's."""

    def words(found: re.Match[str]) -> str:
        name = _name(int(found["signal"]))
        if found["pid"] is None:
            return f"QEMU was ended by {name}"
        if int(found["pid"]) == own_pid:
            return f"culvertd has ended it ({name})"
        return f"process {found['pid']} ({found['program'] or 'gone since'}) has ended it by {name}"

    return _ENDED.sub(words, output)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
