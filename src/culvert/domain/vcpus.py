"""Each of a domain's processors: whether it is there, and whether it was plugged in.

QEMU is started with those that cannot leave (``-smp``), the others are plugged into it, in their order, before the
guest runs. It derives more from the first number than processors: queues and interrupts of virtio disks. So a guest
whose processors were added while it ran goes on only in a QEMU that was started with as few as its first one.

Source: conf/domain_conf.c (virDomainVcpuParse, virDomainVcpuDefPostParse), qemu/qemu_domain.c
(qemuDomainDefVcpusPostParse) and qemu/qemu_driver.c (qemuDomainSetVcpusConfig) of libvirt 9.0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from culvert.domain.cpu import OneVcpu, Vcpu, VcpuStates
from culvert.domain.definition import DomainDef
from culvert.ground import errors


def states(definition: DomainDef) -> tuple[OneVcpu, ...]:
    """The state of every processor there can be, by number, whether or not the definition spells it out."""
    spelled = {one.id: one for one in definition.vcpu_states.states} if definition.vcpu_states else {}
    return tuple(
        _settled(spelled.get(number) or OneVcpu(id=number, enabled=number < definition.current_vcpus))
        for number in range(definition.vcpus)
    )


def _settled(state: OneVcpu) -> OneVcpu:
    # What was not said: a processor that is there was there from the start.
    return state if state.hotpluggable is not None else replace(state, hotpluggable=not state.enabled)


def booted(definition: DomainDef) -> int:
    """How many processors QEMU is started with."""
    return sum(one.enabled and not one.hotpluggable for one in states(definition))


def plugged(definition: DomainDef) -> list[int]:
    """The numbers of those that are plugged in afterwards, in that order."""
    added = [one for one in states(definition) if one.enabled and one.hotpluggable]
    return [one.id for one in sorted(added, key=_order)]


def _order(state: OneVcpu) -> tuple[bool, int, int]:
    return state.order is None, state.order or 0, state.id


def complete(vcpu: Vcpu, spelled: VcpuStates | None, definition: DomainDef) -> DomainDef:
    """``definition`` with ``vcpu`` and with what ``spelled`` says, checked: it counts for more than ``current``.

    Raises ``errors.XMLError`` for what contradicts itself.
    """
    if (vcpu.current or 1) > vcpu.count:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: maxvcpus must not be less than current vcpus ({vcpu.count} < {vcpu.current})"
        )
    whole = replace(definition, vcpu=vcpu, vcpu_states=spelled)
    if spelled is None:
        return _counted(whole)
    numbers = [one.id for one in spelled.states]
    orders = [one.order for one in spelled.states if one.order is not None]
    if any(number >= vcpu.count for number in numbers) or len(set(numbers)) < len(numbers):
        raise errors.XMLError(f"XML error: /domain/vcpus/vcpu/@id: each below {vcpu.count}, and once")
    if any(order > vcpu.count for order in orders) or len(set(orders)) < len(orders):
        raise errors.XMLError(f"XML error: /domain/vcpus/vcpu/@order: each at most {vcpu.count}, and once")
    settled = states(whole)
    for one in settled:
        if not one.enabled and not one.hotpluggable:
            raise errors.XMLError(f"XML error: vcpu '{one.id}' is both offline and not hotpluggable")
    if settled[0].hotpluggable:
        raise errors.ConfigUnsupported("unsupported configuration: vcpu0 can't be hotpluggable")
    kinds = [bool(one.hotpluggable) for one in settled]
    if kinds != sorted(kinds):
        raise errors.ConfigUnsupported(
            "unsupported configuration: online non-hotpluggable vcpus need to be clustered prior to hotpluggable"
            " vcpus"
        )
    return _spelled(whole, settled)


def with_present(definition: DomainDef, present: Collection[int]) -> DomainDef:
    """The definition of a running guest that has the processors ``present`` now, in the order in which they came."""
    before = states(definition)
    known = {one.id: one for one in before if one.enabled}
    came = [one.id for one in sorted(known.values(), key=_order) if one.id in present]
    came += sorted(set(present) - set(came))
    return _spelled(
        definition,
        [
            replace(one, enabled=one.id in present, order=came.index(one.id) + 1 if one.id in present else None)
            for one in before
        ],
    )


def with_count(definition: DomainDef, number: int, *, hotpluggable: bool = False) -> DomainDef:
    """A definition to be started with ``number`` processors; ``hotpluggable``: the new ones can leave."""
    settled = [replace(one, order=None) for one in states(definition)]
    off = [one.id for one in settled if not one.enabled]
    on = [one.id for one in settled if one.enabled]
    added = off[: max(0, number - len(on))]
    taken = on[number:]
    for each in added:
        settled[each] = replace(settled[each], enabled=True, hotpluggable=hotpluggable)
    for each in taken:
        settled[each] = replace(settled[each], enabled=False, hotpluggable=True)
    if definition.vcpu_states is not None or (hotpluggable and added):
        return _spelled(definition, settled)
    return _counted(definition, number)


def with_maximum(definition: DomainDef, number: int) -> DomainDef:
    """A definition that can have ``number`` processors. Raises ``errors.ConfigUnsupported``."""
    topology = definition.cpu.topology if definition.cpu else None
    if topology is not None and topology.count != number:
        raise errors.ConfigUnsupported("unsupported configuration: CPU topology doesn't match the desired vcpu count")
    vcpu = definition.vcpu or Vcpu(count=number)
    now = min(definition.current_vcpus, number)
    kept = definition.vcpu_states
    if kept is not None:
        kept = VcpuStates(states=tuple(one for one in kept.states if one.id < number))
    grown = replace(definition, vcpu=replace(vcpu, count=number, current=now), vcpu_states=kept)
    return _counted(grown) if kept is None else _spelled(grown, states(grown))


def _spelled(definition: DomainDef, settled: Sequence[OneVcpu]) -> DomainDef:
    whole = replace(definition, vcpu_states=VcpuStates(states=tuple(settled)))
    return _counted(whole, sum(one.enabled for one in settled))


def _counted(definition: DomainDef, number: int | None = None) -> DomainDef:
    """With ``number`` as the present count, which is said only where it is not all of them."""
    vcpu = definition.vcpu or Vcpu(count=definition.vcpus)
    current = vcpu.current if number is None else number
    return replace(definition, vcpu=replace(vcpu, current=None if current == vcpu.count else current))
