"""A running guest's network card changed: its link, what holds it back, what it is plugged into.

Source: qemu/qemu_hotplug.c of libvirt 9.0, qemuDomainChangeNet; qemu/qemu_driver.c, qemuDomainSetInterfaceParameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from culvert.domain import bandwidth as limits
from culvert.domain.bandwidth import Bandwidth, Rate
from culvert.domain.definition import DomainDef
from culvert.domain.interface import WITHOUT_DEVICE, Interface, InterfaceSource, unplugged
from culvert.drivers.network import tool
from culvert.drivers.qemu import impact, plugs
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors

ON_BRIDGES = ("network", "bridge")

# What cannot be changed while the guest runs: how it is told from a card, and how libvirt refuses it.
FIXED: tuple[tuple[Callable[[Interface], object], str], ...] = (
    (lambda card: card.model, "cannot modify network device model from {0.model} to {1.model}"),
    (lambda card: card.driver, "cannot modify virtio network device driver attributes"),
    (lambda card: card.boot, "cannot modify network device boot index setting"),
    (lambda card: card.rom.enabled if card.rom else None, "cannot modify network rom enabled setting"),
    (lambda card: card.rom.bar if card.rom else None, "cannot modify network device rom bar setting"),
    (lambda card: card.rom.file if card.rom else None, "cannot modify network rom file"),
    (lambda card: card.mtu, "cannot modify MTU"),
    (lambda card: card.backend, "cannot modify network device backend"),
)


async def change(domain: Domain, live: Interface, wanted: Interface) -> Interface:
    """Make the running guest's card ``live`` what ``wanted`` says. Nothing has changed when it raises, but for what
    stands before the step that failed.

    Raises ``errors.OperationUnsupported`` for what cannot be changed.
    """
    _check(live, wanted)
    card = live
    if _plug(live) != _plug(wanted) or _is_out(domain, live):
        card = await _replug(domain, card, wanted)
    if wanted.bandwidth != unplugged(live).bandwidth:
        card = await _limited(card, wanted.bandwidth)
    if (wanted.link or "up") != (live.link or "up"):
        await domain.monitor.execute("set_link", {"name": live.alias, "up": wanted.link != "down"})
    return replace(card, link=wanted.link)


def _check(live: Interface, wanted: Interface) -> None:
    for told, refusal in FIXED:
        if told(live) != told(wanted):
            raise errors.OperationUnsupported(refusal.format(live, wanted))
    named = wanted.target.dev if wanted.target is not None else None
    if named is not None and (live.target is None or named != live.target.dev):
        raise errors.OperationUnsupported("cannot modify network device tap name")
    before, after = unplugged(live), unplugged(wanted)
    if before.type == after.type and after.type not in ON_BRIDGES and _plug(live) != _plug(wanted):
        raise errors.OperationUnsupported(f"unable to change config on '{after.type}' network type")
    if before.type != after.type and not {live.type, after.type} <= set(ON_BRIDGES):
        raise errors.OperationUnsupported(f"cannot change network interface type to '{after.type}'")


def _is_out(domain: Domain, card: Interface) -> bool:
    """Its network has been ended meanwhile."""
    source = card.source
    if source is None or source.network is None or source.portid is None:
        return False
    return not domain.host.networks.is_plugged(source.network, UUID(source.portid))


def _plug(card: Interface) -> tuple[str, InterfaceSource | None]:
    plain = unplugged(card)
    return plain.type, plain.source


async def _replug(domain: Domain, live: Interface, wanted: Interface) -> Interface:
    """Out of one bridge, into another: the card stays as it is."""
    networks = domain.host.networks
    target = live.target
    assert target is not None
    assert target.dev is not None
    asked = replace(
        live, type=wanted.type, source=wanted.source, bandwidth=wanted.bandwidth, isolated=wanted.isolated
    )
    chosen = await plugs.choose(networks, domain.owner, asked)
    try:
        if chosen.type not in ON_BRIDGES or chosen.bridge is None:
            raise errors.OperationUnsupported(f"cannot change network interface type to '{chosen.type}'")
        await tool.run("ip", ["link", "set", "dev", target.dev, "master", chosen.bridge])
    except BaseException:
        await plugs.unplug(networks, domain.name, chosen)
        raise
    before = live.source
    if before is not None and before.network is not None and before.portid is not None:
        networks.unplug(before.network, UUID(before.portid))
    return chosen


async def _limited(card: Interface, bandwidth: Bandwidth | None) -> Interface:
    new = replace(card, bandwidth=bandwidth)
    await plugs.limit(new)
    return new


def find(definition: DomainDef, device: str) -> Interface:
    """The card of that MAC address, or name on the host. Raises ``errors.InvalidArgument`` in libvirt's words."""
    for card in definition.devices.interfaces:
        if card.mac == device.lower() or (card.target is not None and card.target.dev == device):
            return card
    raise errors.InvalidArgument(f"'{device}' is not a known interface")


async def set_bandwidth(domain: Domain, device: str, given: Bandwidth, ways: frozenset[str], flags: int) -> None:
    """Hold the card ``device`` back as ``given`` says; of ``ways`` (``inbound``, ``outbound``) that are spoken of and
    have no average, no longer; others stay.

    Raises ``errors.InvalidArgument`` for a card that is not there, ``errors.ConfigUnsupported`` for one that cannot
    be held back.
    """
    async with domain.changing("tune a device of"):
        about = impact.impact(domain, flags)
        for definition in (
            domain.require_active().definition if about.live else None,
            domain.require_persistent() if about.config else None,
        ):
            kind = find(definition, device).type if definition is not None else ""
            if kind in WITHOUT_DEVICE:
                raise errors.ConfigUnsupported(
                    f"setting bandwidth on interfaces of type '{kind}' is not implemented yet"
                )
        limits.check(given, floor=False)
        if about.live:
            run = domain.require_active()
            live = find(run.definition, device)
            await plugs.limit(replace(live, bandwidth=_merged(live.bandwidth, given, ways)))
        await impact.keep(domain, lambda one: _with_bandwidth(one, device, given, ways), about)


def _merged(before: Bandwidth | None, given: Bandwidth, ways: frozenset[str]) -> Bandwidth | None:
    def way(name: str) -> Rate | None:
        rate: Rate | None = getattr(given, name)
        kept: Rate | None = getattr(before, name) if before is not None else None
        return rate if rate is not None or name in ways else kept

    merged = Bandwidth(inbound=way("inbound"), outbound=way("outbound"))
    return None if merged == Bandwidth() else merged


def _with_bandwidth(definition: DomainDef, device: str, given: Bandwidth, ways: frozenset[str]) -> DomainDef:
    meant = find(definition, device)
    cards = tuple(
        replace(card, bandwidth=_merged(card.bandwidth, given, ways)) if card is meant else card
        for card in definition.devices.interfaces
    )
    return replace(definition, devices=replace(definition.devices, interfaces=cards))
