"""The corpus of definitions that tools have written (``tests/xml-corpus``): all are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.domain import validate
from culvert.domain.defaults import complete
from culvert.domain.definition import DomainDef
from culvert.domain.parse import parse
from culvert.drivers.qemu.abilities.ability import NONE
from culvert.drivers.qemu.command import command
from culvert.drivers.qemu.command.command import LaunchOptions
from tests.domain import golden

FOLDER = Path(__file__).parent.parent / "xml-corpus"
FILES = {str(path.relative_to(FOLDER).with_suffix("")): path for path in sorted(FOLDER.glob("*/*.xml"))}


def taken(name: str) -> DomainDef:
    definition = complete(parse(FILES[name].read_text(encoding="utf-8")), golden.FACTS)
    validate.check(definition)
    return definition


@pytest.mark.parametrize("name", sorted(FILES))
def test_is_taken(name: str) -> None:
    definition = taken(name)
    assert complete(definition, golden.FACTS) == definition
    options = LaunchOptions(monitor_fd=9, tap_fds={0: (20,)}, channel_directory="/run")
    assert any("/srv/vm/disk.qcow2" in word for word in command.build(golden.running(definition), options, NONE))


def test_there_are_enough() -> None:
    assert len(FILES) >= 60
