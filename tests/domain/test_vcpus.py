"""Which processors QEMU is started with, which are plugged in, and what of it travels."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from culvert.domain import abi, vcpus
from culvert.domain.cpu import OneVcpu, Vcpu, VcpuStates
from culvert.domain.definition import DomainDef
from culvert.domain.format import format
from culvert.domain.parse import parse
from culvert.drivers.qemu.command import command_cpu
from culvert.ground import errors
from tests.domain import golden

# As libvirt 9.0 shows a guest of 4 that was started with one and was given two more.
PLUGGED = """  <vcpu placement='static' current='3'>4</vcpu>
  <vcpus>
    <vcpu id='0' enabled='yes' hotpluggable='no' order='1'/>
    <vcpu id='1' enabled='yes' hotpluggable='yes' order='2'/>
    <vcpu id='2' enabled='yes' hotpluggable='yes' order='3'/>
    <vcpu id='3' enabled='no' hotpluggable='yes'/>
  </vcpus>
"""


def guest(count: int, current: int | None = None, states: tuple[OneVcpu, ...] | None = None) -> DomainDef:
    """A complete definition with these processors."""
    plain = replace(golden.complete("pc-direct-kernel"), cpu=None)
    spelled = None if states is None else VcpuStates(states=states)
    return golden.defined(format(replace(plain, vcpu=Vcpu(count=count, current=current), vcpu_states=spelled)), plain)


def shown(definition: DomainDef) -> str:
    lines = format(definition).splitlines(keepends=True)
    return "".join(line for line in lines if "vcpu" in line)


def test_the_plugged_ones_are_shown_as_libvirt_does() -> None:
    started = guest(4, 1)
    assert "<vcpus>" not in shown(started)
    grown = vcpus.with_present(started, [0, 1, 2])
    assert shown(grown) == PLUGGED
    assert golden.defined(format(grown, migratable=True), grown) == grown


def test_the_other_qemu_is_started_with_those_the_first_was_started_with() -> None:
    grown = vcpus.with_present(guest(4, 1), [0, 2, 1])
    assert command_cpu.smp(grown)[1].startswith("1,maxcpus=4,")
    assert vcpus.plugged(grown) == [1, 2]
    later = vcpus.with_present(vcpus.with_present(grown, [0, 2]), [0, 1, 2])
    assert vcpus.plugged(later) == [2, 1]
    assert vcpus.with_present(later, [0, 1, 2]) == later


@settings(max_examples=30)
@given(st.data())
def test_nothing_that_is_plugged_changes_what_qemu_is_started_with(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    first = data.draw(st.integers(1, count))
    definition = guest(count, first)
    for _ in range(data.draw(st.integers(0, 4))):
        added = data.draw(st.sets(st.integers(first, count - 1))) if first < count else set()
        present = [*range(first), *added]
        definition = vcpus.with_present(definition, present)
        assert vcpus.booted(definition) == first
        assert sorted(vcpus.plugged(definition)) == sorted(added)
        assert definition.current_vcpus == len(present)
        arrived = golden.defined(format(definition, migratable=True), definition)
        assert arrived == definition
        abi.check(definition, arrived)
        assert parse(format(definition), live=True).vcpu_states == definition.vcpu_states


def test_one_that_was_there_from_the_start_is_not_one_that_was_plugged_in() -> None:
    grown = vcpus.with_present(guest(4, 1), [0, 1, 2])
    for other in (guest(4, 3), vcpus.with_present(guest(4, 2), [0, 1, 2]), vcpus.with_present(guest(4, 1), [0, 1])):
        with pytest.raises(errors.ConfigUnsupported, match="/domain/vcpu"):
            abi.check(grown, other)
    abi.check(vcpus.with_present(guest(4, 1), [0, 1, 2]), vcpus.with_count(guest(4, 1), 3, hotpluggable=True))


def test_for_the_next_start() -> None:
    assert vcpus.with_count(guest(4, 1), 3) == guest(4, 3)
    assert vcpus.with_count(guest(4, 1), 4) == guest(4)
    removable = vcpus.with_count(guest(4, 1), 2, hotpluggable=True)
    assert (vcpus.booted(removable), vcpus.plugged(removable), removable.current_vcpus) == (1, [1], 2)
    assert vcpus.plugged(vcpus.with_count(removable, 4, hotpluggable=True)) == [1, 2, 3]
    assert vcpus.with_count(removable, 1).current_vcpus == 1
    fewer = vcpus.with_count(guest(4), 2)
    assert fewer == guest(4, 2)


def test_another_maximum() -> None:
    assert vcpus.with_maximum(guest(4), 2) == guest(2)
    assert vcpus.with_maximum(guest(2, 1), 4) == guest(4, 1)
    removable = vcpus.with_count(guest(4, 1), 3, hotpluggable=True)
    assert vcpus.plugged(vcpus.with_maximum(removable, 2)) == [1]
    assert vcpus.plugged(vcpus.with_maximum(removable, 8)) == [1, 2]
    assert len(vcpus.states(vcpus.with_maximum(removable, 8))) == 8


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ((OneVcpu(id=4, enabled=True),), "@id"),
        ((OneVcpu(id=1, enabled=True), OneVcpu(id=1, enabled=False)), "@id"),
        ((OneVcpu(id=0, enabled=True, order=1), OneVcpu(id=1, enabled=True, order=1)), "@order"),
        ((OneVcpu(id=1, enabled=True, order=5),), "@order"),
        ((OneVcpu(id=1, enabled=False, hotpluggable=False),), "vcpu '1' is both offline and not hotpluggable"),
        ((OneVcpu(id=0, enabled=True, hotpluggable=True),), "vcpu0 can't be hotpluggable"),
        ((OneVcpu(id=0, enabled=False),), "vcpu0 can't be hotpluggable"),
        ((OneVcpu(id=2, enabled=True, hotpluggable=False),), "clustered prior to hotpluggable"),
    ],
)
def test_what_contradicts_itself(states: tuple[OneVcpu, ...], said: str) -> None:
    with pytest.raises(errors.RequestError, match=said):
        guest(4, 1, states)


def test_what_is_said_of_each_counts_for_more_than_the_number() -> None:
    told = guest(4, 1, (OneVcpu(id=1, enabled=True), OneVcpu(id=2, enabled=True, hotpluggable=True)))
    assert (told.current_vcpus, vcpus.booted(told), vcpus.plugged(told)) == (3, 2, [2])
    assert guest(2, 1, (OneVcpu(id=1, enabled=True),)).vcpu == Vcpu(placement="static", count=2)
