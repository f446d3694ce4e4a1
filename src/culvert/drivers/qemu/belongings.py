"""What a start makes beside the folder of its run, and a guest keeps once it has run: the variables of its firmware,
the keys of its TPM. Until then it is noted with the run (``Domain.annotations``), and taken back if that fails.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, MutableMapping
from pathlib import Path

NVRAM, TPM = "nvram-made", "tpm-made"
"""Annotations: a file, a folder."""


def keep(annotations: MutableMapping[str, str]) -> None:
    """The guest of a run with ``annotations`` is here: what it has stays, whatever becomes of the run."""
    for made in (NVRAM, TPM):
        annotations.pop(made, None)


def take_back(annotations: Mapping[str, str]) -> None:
    """A run with ``annotations`` is over, and is to leave what it has found; it touches the disk."""
    if NVRAM in annotations:
        with contextlib.suppress(OSError):
            Path(annotations[NVRAM]).unlink(missing_ok=True)
    if TPM in annotations:
        folder = Path(annotations[TPM])
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # that of another version is there
            folder.parent.rmdir()
