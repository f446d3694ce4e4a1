"""What is loaded when the daemon starts: each module costs processor time, at each start and each restart."""

from __future__ import annotations

import json
import subprocess
import sys

LOADED = "import json, sys, culvert.daemon.main; print(json.dumps(sorted(sys.modules)))"

LATER = frozenset(
    {
        "cryptography",  # with the first certificate that is read
        *("rich", "multiprocessing", "unittest", "http", "email", "xml", "ctypes", "pdb", "pydoc"),
        *("culvert.client", "culvert.cli"),
    }
)
"""What a daemon may need once, or never."""

MOST_OTHERS = 260
"""Modules that are not culvert's own: 218 with Python 3.11, and other versions have some more."""


def test_it_loads_nothing_that_it_does_not_need_yet() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert loaded & LATER == set()
    others = [name for name in loaded if name.partition(".")[0] != "culvert"]
    assert len(others) <= MOST_OTHERS, sorted(others)


def test_structs_of_the_protocol_are_put_together_when_they_are_used() -> None:
    """A daemon knows hundreds of them; what a dataclass compiles for one takes a millisecond."""
    counted = (
        "import builtins; calls = []; real = builtins.exec;\n"
        "builtins.exec = lambda source, *rest: (calls.append(source), real(source, *rest))[1]\n"
        "import culvert.protocol.remote, culvert.protocol.culvert, culvert.protocol.qemu\n"
        "from culvert.protocol import types\n"
        "print(sum(isinstance(source, str) and '__init__' in source and 'set_' in source for source in calls))"
    )
    done = subprocess.run([sys.executable, "-c", counted], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
