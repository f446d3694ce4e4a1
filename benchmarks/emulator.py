"""The emulator that all daemons and all hand-driven moves run: QEMU behind a few lines of shell.

They give every guest a second monitor, whose socket is named by the process id, so that all movers are observed in
the same way; and they take back what libvirt adds to the memory. libvirt rounds it up to whole MiB, and QEMU 7.2
loses pages of a TCG guest whose memory is a multiple of 256 KiB (docs/guests.md).
"""

from __future__ import annotations

import os
from pathlib import Path

from guests import domain_xml

QEMU = os.environ.get("CULVERT_QEMU", "/usr/bin/qemu-system-x86_64")
SPARED_BYTES = (1024 - domain_xml.SPARED_KIB) << 10

_SCRIPT = r"""#!/bin/bash
arguments=() guest= last=
for word in "$@"; do
    [[ $word != -name ]] || guest=yes
    case $last$word in
    -m[0-9]*) [[ $word == *[!0-9]* ]] || word=$((word * 1024 - {spared_kib}))k ;;
    -msize=*k) size=${{word:5:-1}}; ((size % 1024)) || word=size=$((size - {spared_kib}))k ;;
    -object*'"memory-backend-ram"'*) [[ $word =~ \"size\":([0-9]+) ]] && size=${{BASH_REMATCH[1]}}
        ((size % 1048576)) || word=${{word/\"size\":$size/\"size\":$((size - {spared_bytes}))}} ;;
    esac
    arguments+=("$word") last=$word
done
[[ $guest ]] && arguments+=(-qmp "unix:{folder}/$$,server=on,wait=off")
exec {qemu} "${{arguments[@]}}"
"""


class Emulator:
    """The program at ``path`` below ``folder``, and where its monitors are."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "qemu"
        self._monitors = folder / "monitors"
        self._monitors.mkdir()
        self._monitors.chmod(0o1777)
        text = _SCRIPT.format(
            spared_kib=SPARED_BYTES >> 10, spared_bytes=SPARED_BYTES, folder=self._monitors, qemu=QEMU
        )
        self.path.write_text(text, encoding="ascii")
        self.path.chmod(0o755)

    def listening(self) -> set[str]:
        """The process ids of all guests' QEMUs so far, as text: also of those that have ended."""
        return set(os.listdir(self._monitors))

    def monitor(self, pid: int | str) -> Path:
        """The socket of the process ``pid``, which exists once that listens."""
        return self._monitors / str(pid)
