"""Processors that are taken away from a running guest, with a monitor that answers as QEMU does."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from culvert.domain import parse as xml_parse
from culvert.drivers.qemu import vcpus
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.run import Run
from culvert.ground import errors
from culvert.protocol.constants_state import EventID


class Qemu:
    """A machine with room for three processors, of which two are there; ``lets_go``: whether its guest does."""

    def __init__(self, *, lets_go: bool) -> None:
        self.lets_go = lets_go
        self.there = {0: "/machine/unattached/device[0]", 1: "/machine/peripheral/vcpu1"}
        self.told: list[str] = []

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> object:
        if command == "query-hotpluggable-cpus":
            return [
                {"type": "x", "props": {"socket-id": place}}
                | ({"qom-path": self.there[place]} if place in self.there else {})
                for place in (2, 1, 0)
            ]
        assert arguments is not None
        self.told.append(f"{command} {arguments['id']}")
        return {}

    @contextlib.asynccontextmanager
    async def events(self, names: Collection[str]) -> AsyncIterator[Qemu]:
        assert names == ["DEVICE_DELETED"]
        yield self

    async def get(self, timeout: float, *, where: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        others, wanted = {"data": {"device": "vcpu0"}}, {"data": {"device": "vcpu1"}}
        assert not where(others)
        assert where(wanted)
        if not self.lets_go:
            raise errors.OperationTimeout(f"nothing within {timeout:g} s")
        return wanted


def guest(qemu: Qemu, kind: str) -> Domain:
    run = SimpleNamespace(definition=SimpleNamespace(type=kind))
    return cast(Domain, SimpleNamespace(name="g", monitor=qemu, require_active=lambda: run))


async def test_the_last_that_was_added_leaves() -> None:
    qemu = Qemu(lets_go=True)
    await vcpus.plug(guest(qemu, "kvm"), 1)
    assert qemu.told == ["device_del vcpu1"]


async def test_a_guest_that_keeps_it() -> None:
    with pytest.raises(errors.OperationTimeout, match="vcpu unplug request timed out: the guest of domain 'g'"):
        await vcpus.plug(guest(Qemu(lets_go=False), "kvm"), 1)


async def test_who_does_not_wait_is_told_when_it_has_gone() -> None:
    qemu = Qemu(lets_go=False)
    await vcpus.plug(guest(qemu, "kvm"), 1, wait=False)
    assert qemu.told == ["device_del vcpu1"]


async def test_one_that_was_there_from_the_start_stays() -> None:
    qemu = Qemu(lets_go=True)
    qemu.there = {0: qemu.there[0], 1: "/machine/unattached/device[1]"}
    with pytest.raises(errors.OperationInvalid, match="that domain 'g' was started with"):
        await vcpus.plug(guest(qemu, "kvm"), 1)
    assert qemu.told == []


async def test_under_tcg_none_is_asked_for() -> None:
    qemu = Qemu(lets_go=True)
    with pytest.raises(errors.OperationUnsupported, match="cannot be taken away from domain 'g' while it runs"):
        await vcpus.plug(guest(qemu, "qemu"), 1)
    assert qemu.told == []


async def test_one_that_has_gone_is_told_of() -> None:
    """By ``look``, whoever has taken it away: a caller, or a guest that lets go of it later."""
    before = xml_parse.parse(
        "<domain type='qemu'><name>g</name><memory>1</memory><vcpu current='2'>3</vcpu>"
        "<vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/><vcpu id='1' enabled='yes' hotpluggable='yes'/>"
        "<vcpu id='2' enabled='no' hotpluggable='yes'/></vcpus><os><type>hvm</type></os></domain>"
    )
    told: list[tuple[EventID, object]] = []

    async def persist() -> None:
        told.append((EventID.LIFECYCLE, "on the disk"))

    qemu = Qemu(lets_go=True)
    run = SimpleNamespace(definition=before)
    domain = SimpleNamespace(
        monitor=qemu, run=run, persist=persist, tell=lambda kind, **members: told.append((kind, members))
    )
    await vcpus.look(cast(Domain, domain), cast(Run, run))
    assert told == []
    del qemu.there[1]
    await vcpus.look(cast(Domain, domain), cast(Run, run))
    await vcpus.look(cast(Domain, domain), cast(Run, run))
    assert told == [(EventID.VCPU_REMOVED, {"vcpuid": 1}), (EventID.LIFECYCLE, "on the disk")]


async def test_under_tcg_one_is_added() -> None:
    qemu = Qemu(lets_go=True)
    await vcpus.plug(guest(qemu, "qemu"), 3)
    assert qemu.told == ["device_add vcpu2"]
