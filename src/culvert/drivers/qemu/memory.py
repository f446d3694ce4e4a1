"""More or less memory for a guest, now or from its next start on."""

from __future__ import annotations

from dataclasses import replace

from culvert.domain.definition import DomainDef
from culvert.drivers.qemu import balloon, impact
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.impact import Impact
from culvert.ground import errors
from culvert.ground.units import KiB
from culvert.protocol.constants_flag import AffectFlag, MemoryFlag


async def set_period(domain: Domain, seconds: int, flags: int) -> None:
    """Look at the guest's statistics every so often; 0: no more.

    Raises ``errors.OperationInvalid`` for a guest without a balloon.
    """
    if seconds < 0:
        raise errors.InvalidArgument(f"invalid argument: invalid collection period value {seconds}")
    async with domain.changing("set the memory statistics period of"):
        about = impact.impact(domain, flags)
        if about.live:
            alias = balloon.alias_of(domain.require_active().definition)
            if alias is None:
                raise errors.OperationInvalid("Memory balloon model must be virtio to set the collection period")
            await balloon.look_every(domain, alias, seconds)

        def change(definition: DomainDef) -> DomainDef:
            device = definition.devices.memballoon
            if device is None or device.model == "none":
                raise errors.OperationInvalid("Memory balloon model must be virtio to set the collection period")
            told = replace(device, stats=seconds or None)
            return replace(definition, devices=replace(definition.devices, memballoon=told))

        await impact.keep(domain, change, about)


async def set_memory(domain: Domain, kib: int, flags: int) -> None:
    """Give the guest ``kib`` of memory, now or from its next start on, as ``flags`` say.

    With ``MemoryFlag.MAXIMUM`` the most it can have, which only a domain that does not run can change.
    """
    if kib == 0:
        raise errors.InvalidArgument("invalid argument: memory in virDomainSetMemoryFlags must not be zero")
    async with domain.changing("set the memory of"):
        about = impact.impact(domain, flags & (AffectFlag.LIVE | AffectFlag.CONFIG))
        if flags & MemoryFlag.MAXIMUM:
            if about.live:
                raise errors.OperationInvalid("cannot resize the maximum memory on an active domain")
            await impact.keep(domain, lambda definition: _with_maximum(definition, kib), about)
            return
        for definition in (*([domain.active] if about.live else []), *([domain.persistent] if about.config else [])):
            if definition is not None and kib > definition.memory:
                raise errors.InvalidArgument("invalid argument: cannot set memory higher than max memory")
        if about.live:
            if balloon.alias_of(domain.require_active().definition) is None:
                raise errors.OperationInvalid("Unable to change memory of active domain without the balloon device")
            await domain.monitor.execute("balloon", {"value": kib * KiB})
        # What a running guest has is what its driver makes of it: told by an event.
        config_only = Impact(live=False, config=about.config)
        await impact.keep(domain, lambda definition: replace(definition, current_memory=kib), config_only)


def _with_maximum(definition: DomainDef, kib: int) -> DomainDef:
    return replace(definition, memory=kib, current_memory=min(definition.current_memory or kib, kib))
