"""Guests of a daemon, by virsh: the same words to libvirtd and to culvertd."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.hosts import LabError
from benchmarks.stage import Ground, virsh
from guests import domain_xml
from tests.support.virsh import ENVIRONMENT

SECONDS = 60  # for a call that does little


def call(uri: str, *words: str) -> str:
    """What virsh says. Raises ``LabError`` with its words when it fails."""
    try:
        done = subprocess.run(
            virsh(uri, *words), capture_output=True, text=True, env=ENVIRONMENT, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"virsh {' '.join(words)}: not within {SECONDS} s") from None
    if done.returncode:
        raise LabError(f"virsh {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def create(uri: str, guest: domain_xml.Guest, ground: Ground) -> None:
    """Create the guest, run by the emulator that all movers use."""
    emulator = f"<emulator>{ground.emulator.path}</emulator>"
    domain = replace(guest.domain, devices=emulator + guest.domain.devices)
    path = Path(f"{guest.serial}.xml")
    path.write_text(domain.text(), encoding="utf-8")
    call(uri, "create", str(path))


def destroy_all(uris: Sequence[str]) -> None:
    """End every guest there is. Raises ``LabError`` when one cannot be ended."""
    for uri in uris:
        for name in call(uri, "list", "--name").split():
            with contextlib.suppress(LabError):  # it may have ended by itself
                call(uri, "destroy", name)
        # With --all: none of our guests is persistent, so one that is shut off should not be there either.
        if left := call(uri, "list", "--all", "--name").split():
            raise LabError(f"guests that do not go: {left}")
