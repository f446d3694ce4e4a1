"""A real QEMU starts with each element, and takes the state of another one that has it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from culvert.domain.definition import DomainDef
from culvert.domain.format import format
from tests.domain import elements, golden
from tests.drivers.command.test_command import QEMU, SECONDS, images, qemu

# Needs what a host may not have: hardware, huge pages.
ELSEWHERE = frozenset({"vsock"})
# QEMU has no state of it that would move.
STAYS = frozenset({"usb-serial", "vdagent"})
NAMES = [name for name in elements.NAMES if elements.argv(name) and name not in ELSEWHERE]

pytestmark = pytest.mark.skipif(not Path(QEMU).exists(), reason=f"no {QEMU}")


def running(xml: str, folder: Path) -> DomainDef:
    definition = elements.completed(xml.replace("/srv/vm", str(folder)))
    if definition.os.type.arch == "x86_64":
        definition = replace(definition, devices=replace(definition.devices, emulator=QEMU))
    return golden.running(definition)


@pytest.mark.parametrize("name", sorted(STAYS & set(NAMES)))
def test_what_does_not_move_starts(name: str, folder: Path) -> None:
    images(folder)
    with qemu(running(elements.text(name), folder), folder) as call:
        assert call("query-status")["status"] == "prelaunch"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in STAYS])
def test_the_state_of_one_is_taken_by_another(name: str, folder: Path) -> None:
    if name == "i686" and elements.EMULATORS["i686"].replace("i386", "x86_64") != QEMU:
        pytest.skip("it has an emulator of its own, of this host's generation")
    images(folder)
    source = running(elements.text(name), folder)
    source = replace(source, uuid=golden.UUID)
    arrived = running(format(source, migratable=True, secure=True), folder)
    uri = f"unix:{folder}/stream"
    with (
        qemu(arrived, folder / "destination", incoming=True) as destination,
        qemu(source, folder / "source") as call,
    ):
        destination("migrate-incoming", {"uri": uri})
        call("migrate", {"uri": uri})
        deadline = time.monotonic() + SECONDS
        while (state := call("query-migrate").get("status")) not in ("completed", "failed"):
            assert time.monotonic() < deadline, state
            time.sleep(0.05)
        assert state == "completed", call("query-migrate")
        while (state := destination("query-status")["status"]) in ("inmigrate",):
            assert time.monotonic() < deadline, state
            time.sleep(0.05)
