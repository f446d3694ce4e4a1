"""Definition → domain XML."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from culvert.domain import binding, xml
from culvert.domain.definition import DomainDef
from culvert.domain.devices import Devices
from culvert.domain.format import format
from culvert.domain.parse import parse
from tests.domain import strategies
from tests.domain.golden import NAMES, complete, defined


@given(strategies.bound(DomainDef))
@settings(max_examples=8, suppress_health_check=list(HealthCheck))
def test_what_is_written_reads_back_the_same(definition: DomainDef) -> None:
    assert parse(format(definition, secure=True, status=True), live=True) == definition


ELEMENTS = {
    row.binding.name: row.binding.classes()[""] for row in binding.table(Devices) if row.binding.kind == "children"
}


@pytest.mark.parametrize("tag", sorted(ELEMENTS))
@given(data=st.data())
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
def test_each_device_reads_back_the_same(tag: str, data: st.DataObject) -> None:
    """By itself: of whole domains few examples come in the time that there is."""
    device = data.draw(strategies.bound(ELEMENTS[tag]))
    text = xml.render(binding.write(device, tag))
    assert binding.read(ELEMENTS[tag], xml.read(text), f"/{tag}") == device


def test_passwords_are_shown_only_when_asked() -> None:
    definition = complete("q35-everything")
    assert "passwd='secret'" in format(definition, secure=True)
    assert "secret" not in format(definition)


def test_the_id_is_that_of_the_running_domain() -> None:
    assert format(complete("pc-minimal"), domain_id=3).startswith("<domain type='qemu' id='3'>")


def test_the_migratable_form_leaves_out_what_every_host_adds() -> None:
    text = format(replace(complete("pc-minimal"), id=4), migratable=True)
    for absent in ("id='4'", "pci-root", "<controller", "<audio", "<alias"):
        assert absent not in text


def test_the_migratable_form_means_the_same() -> None:
    for name in NAMES:
        definition = complete(name)
        again = defined(format(definition, migratable=True, secure=True), definition)
        assert sorted(map(repr, again.devices.controllers)) == sorted(map(repr, definition.devices.controllers))
        assert replace(again, devices=replace(again.devices, controllers=())) == replace(
            definition, devices=replace(definition.devices, controllers=())
        )


def test_a_chosen_vnc_port_does_not_travel() -> None:
    definition = complete("pc-vnc-console")
    chosen = replace(definition.devices.graphics[0], port=5907)
    running = replace(definition, devices=replace(definition.devices, graphics=(chosen,)))
    assert "port='-1' autoport='yes'" in format(running, migratable=True)
    assert "port='5907'" in format(running)
