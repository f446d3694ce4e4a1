"""The tables of abilities, and what is made of QEMU's answers by them."""

from __future__ import annotations

from typing import Any

from culvert.drivers.qemu.abilities import ability, running
from culvert.drivers.qemu.abilities.ability import Ability
from culvert.drivers.qemu.monitor import CommandRefused


def test_every_ability_is_asked_for_in_one_way() -> None:
    rows = [*ability.SCHEMA, *ability.OPTIONS, *ability.PROPERTIES, *ability.TYPES]
    assert sorted(rows) == sorted(Ability)


def test_of_each_table() -> None:
    options: list[dict[str, Any]] = [
        {"option": "machine", "parameters": [{"name": "hpet", "type": "boolean"}]},
        {"option": "acpi", "parameters": []},
        {"nonsense": 1},
    ]
    assert ability.of_options(options) == {Ability.MACHINE_HPET}
    chip: list[dict[str, Any]] = [{"name": "addr"}, {"name": "noreboot", "default-value": False}]
    assert ability.of_properties({"ICH9-LPC": chip}) == {Ability.ITCO_BITES}
    assert ability.of_properties({"ICH9-LPC": [{"name": "noreboot", "default-value": True}]}) == set()
    assert ability.of_properties({}) == set()
    assert ability.of_types([{"name": "chardev-null"}, {"name": "chardev-spicevmc"}, {}]) == {Ability.SPICE}
    assert ability.of_schema(
        [
            {"name": "migrate-incoming", "meta-type": "command", "arg-type": "1", "ret-type": "0"},
            {"name": "1", "meta-type": "object", "members": [{"name": "exit-on-error", "type": "bool"}]},
            {"name": "bool", "meta-type": "builtin", "json-type": "boolean"},
        ]
    ) == {Ability.INCOMING_EXIT_ON_ERROR}


async def test_one_that_does_not_say_is_done_without() -> None:
    class Refusing:
        name = "mute"

        async def execute(self, command: str) -> Any:
            raise CommandRefused(f"no {command}", error_class="CommandNotFound", reply={})

    assert await running.ask(Refusing()) is ability.NONE  # type: ignore[arg-type]
