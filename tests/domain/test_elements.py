"""Each element is understood, completed and written as libvirt does, and started with libvirt's command line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from culvert.domain.abi import check
from culvert.domain.format import format
from culvert.domain.parse import parse
from culvert.domain.validate import check as validate
from culvert.drivers.qemu.abilities.ability import Abilities
from culvert.drivers.qemu.command import command
from culvert.drivers.qemu.command.command import LaunchOptions
from culvert.drivers.qemu.command.command_memory import MemoryPlaces
from tests.domain import elements, golden

OPTIONS = LaunchOptions(monitor_fd=9, channel_directory="/run/channels", memory=MemoryPlaces(files="/run/ram"))


@pytest.mark.parametrize("name", elements.NAMES)
def test_is_defined_as_libvirt_does(name: str) -> None:
    definition = replace(elements.completed(elements.text(name)), uuid=golden.UUID)
    validate(definition)
    assert format(definition, secure=True) == elements.defined_text(name)


@pytest.mark.parametrize("name", elements.NAMES)
def test_completing_twice_is_completing_once(name: str) -> None:
    text = elements.defined_text(name)
    again = format(elements.completed(text), secure=True)
    assert golden.without_order(again) == golden.without_order(text)


@pytest.mark.parametrize("name", [name for name in elements.NAMES if elements.argv(name)])
def test_is_the_command_line_of_libvirt(name: str) -> None:
    definition = golden.running(parse(elements.defined_text(name)))
    ours = command.build(definition, OPTIONS, Abilities())
    ours = [word.replace(',"backing":null', "") for word in ours]  # libvirt has not looked into the images
    assert ours == elements.argv(name)


@pytest.mark.parametrize("name", elements.NAMES)
def test_may_move_to_where_it_is_defined_as_it_travels(name: str) -> None:
    definition = elements.completed(elements.defined_text(name))
    travelled = elements.completed(format(definition, migratable=True, secure=True))
    check(definition, travelled)
    check(travelled, definition)
