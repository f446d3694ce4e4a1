"""Where a guest's network cards are plugged in on the host: into virtual networks, bridges, on top of devices.

What is made here for a run goes with it: taps by themselves when QEMU ends, the rest by ``unplug``.
Source: qemu/qemu_interface.c, qemu/qemu_hotplug.c of libvirt 9.0.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from culvert.domain.interface import GENERATED, WITHOUT_DEVICE, Interface, InterfaceSource, InterfaceTarget
from culvert.drivers.network import tool, traffic
from culvert.drivers.network.port import NetworkPorts, Port, Wish
from culvert.drivers.qemu import macvtap, network, passt
from culvert.drivers.qemu.network import Tap
from culvert.drivers.qemu.process import Process
from culvert.ground import errors
from culvert.io import blocking

log = logging.getLogger(__name__)

VHOST = "/dev/vhost-net"


@dataclass(frozen=True, slots=True)
class CardOwner:
    """Whose cards: the domain, whether its processors are the host's own (KVM), and where its programs' words go."""

    name: str
    uuid: UUID
    kvm: bool
    log_file: Path


@dataclass(frozen=True, slots=True)
class Plugged:
    """A card that is plugged in: what its live XML says, and the descriptors, which are the caller's to close.
    ``helper``: the program that is its network."""

    card: Interface
    taps: tuple[int, ...] = ()
    vhosts: tuple[int, ...] = ()
    helper: Process | None = None

    def close(self) -> None:
        for fd in (*self.taps, *self.vhosts):
            os.close(fd)


async def choose(networks: NetworkPorts, owner: CardOwner, card: Interface) -> Interface:
    """``card`` as it will be plugged in: of a network, the port and where that is; a name for a device that will not
    go by itself. Nothing has been made on the host yet but the port, which ``unplug`` takes back.

    Raises ``errors.NoNetwork``, ``errors.OperationInvalid`` for a network that is not active.
    """
    _refuse(card)
    if card.network is not None:
        card = _in_port(card, await networks.plug(_wish(owner, card)))
    if card.type == "direct":
        target = card.target or InterfaceTarget()
        if target.dev is None or target.dev.startswith(GENERATED):
            card = replace(card, target=replace(target, dev=await macvtap.free_name()))
    return card


def _wish(owner: CardOwner, card: Interface) -> Wish:
    assert card.source is not None
    assert card.source.network is not None
    assert card.mac is not None
    return Wish(
        network=card.source.network,
        owner=owner.name,
        owner_uuid=owner.uuid,
        mac=card.mac,
        portgroup=card.source.portgroup,
        bandwidth=card.bandwidth,
        isolated=card.isolated,
    )


def _in_port(card: Interface, port: Port) -> Interface:
    """What libvirt's live XML tells of a card in a network (virDomainActualNetDefContentsFormat)."""
    assert card.source is not None
    source = replace(card.source, portid=str(port.uuid), bridge=port.bridge, dev=port.device, mode=port.mode)
    return replace(card, type=port.kind, source=source, bandwidth=port.bandwidth, isolated=port.isolated)


async def plug(owner: CardOwner, card: Interface) -> Plugged:
    """Make what ``card``, which has been chosen, is plugged in by. Nothing of it is there when this raises.

    Raises ``errors.SystemCallError``, ``errors.InternalError``.
    """
    if card.bandwidth is not None and card.type in WITHOUT_DEVICE:
        # libvirt says no more of it either (qemuBuildInterfaceCommandLine).
        log.warning("domain=%s mac=%s type=%s nothing holds back such a card", owner.name, card.mac, card.type)
    if card.is_passt:
        helper, fd = await passt.start(owner.name, card, owner.log_file)
        return Plugged(card, (fd,), helper=helper)
    if card.type in WITHOUT_DEVICE:
        return Plugged(card)
    tap = await _tap(card)
    vhosts: tuple[int, ...] = ()
    try:
        target = replace(card.target or InterfaceTarget(), dev=tap.name)
        plugged = replace(card, target=target)
        if card.isolated:
            await tool.run("ip", ["link", "set", "dev", tap.name, "type", "bridge_slave", "isolated", "on"])
        if card.bandwidth is not None:
            await _limit(plugged)
        vhosts = await _vhosts(owner, plugged)
    except BaseException:
        await blocking.to_its_end(tap.close)
        await _remove_macvtap(replace(card, target=replace(card.target or InterfaceTarget(), dev=tap.name)))
        raise
    return Plugged(plugged, tap.fds, vhosts)


async def _tap(card: Interface) -> Tap:
    assert card.mac is not None, "a complete definition has addresses"
    target = card.target or InterfaceTarget()
    source = card.source or InterfaceSource()
    if card.type == "direct":
        assert target.dev is not None
        return await macvtap.open_macvtap(
            target.dev,
            mac=card.mac,
            lower=source.dev or "",
            mode=source.mode or "vepa",
            mtu=card.mtu,
            queues=card.queues,
        )
    # A generated name that came in with somebody's live XML is no wish (VIR_NET_GENERATED_VNET_PREFIX).
    wanted = None if target.dev is None or target.dev.startswith(network.GENERATED) else target.dev
    return await network.open_tap(wanted, mac=card.mac, bridge=card.bridge, mtu=card.mtu, queues=card.queues)


async def _limit(card: Interface) -> None:
    """On top of a device of the host its own way in is the guest's, of a tap it is the guest's way out."""
    bandwidth, target = card.bandwidth, card.target
    assert target is not None
    assert target.dev is not None
    if card.type == "direct" and bandwidth is not None:
        bandwidth = replace(bandwidth, inbound=bandwidth.outbound, outbound=bandwidth.inbound)
    await traffic.limit(target.dev, bandwidth)


async def limit(card: Interface) -> None:
    """Hold the plugged ``card`` back as its definition says, and no longer as before."""
    await _limit(card)


async def _vhosts(owner: CardOwner, card: Interface) -> tuple[int, ...]:
    """The kernel's own packet movers, where they are wanted or can be had.

    Source: qemu/qemu_interface.c, qemuInterfaceOpenVhostNet.
    """
    named = card.driver.name if card.driver is not None else None
    if not owner.kvm or named == "qemu":
        return ()
    if not card.is_virtio:
        return ()

    def opened() -> tuple[int, ...]:
        fds: list[int] = []
        try:
            for _ in range(card.queues):
                fds.append(os.open(VHOST, os.O_RDWR | os.O_CLOEXEC))
        except OSError:
            for fd in fds:
                os.close(fd)
            return ()
        return tuple(fds)

    fds = await blocking.made(opened, undo=_close)
    if not fds and named == "vhost":
        raise errors.ConfigUnsupported("vhost-net was requested for an interface, but is unavailable")
    return fds


def _close(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)


async def watch(owner: str, card: Interface, helper: Process) -> None:
    """Say so when the program ends that is a card's network; the guest runs on without it."""
    try:
        await helper.exited.wait()
        log.warning("domain=%s card=%s pid=%d passt has ended: %s", owner, card.alias, helper.pid, helper.exit_text)
    finally:
        helper.forget()


async def unplug(networks: NetworkPorts, owner: str, card: Interface) -> None:
    """Take back what a card has been plugged in by, once QEMU has let go of it; what cannot be is logged."""
    source = card.source
    if source is not None and source.network is not None and source.portid is not None:
        networks.unplug(source.network, UUID(source.portid))
    try:
        await _remove_macvtap(card)
    except errors.RequestError as err:
        log.error("domain=%s device=%s is left behind reason=%r", owner, card.target, err.message)


async def _remove_macvtap(card: Interface) -> None:
    if card.type == "direct" and card.target is not None and card.target.dev is not None and card.mac is not None:
        await macvtap.remove(card.target.dev, card.mac)


async def adopt(networks: NetworkPorts, owner: CardOwner, cards: tuple[Interface, ...]) -> None:
    """The running guest's cards are plugged in: their networks know it again after a restart of the daemon."""
    for card in cards:
        if card.network is not None and card.source is not None and card.source.portid is not None:
            wish = replace(_wish(owner, card), uuid=UUID(card.source.portid))
            try:
                await networks.plug(wish)
            except errors.RequestError as err:
                log.warning("domain=%s mac=%s is in no network any more reason=%r", owner.name, card.mac, err.message)


def check(networks: NetworkPorts, cards: tuple[Interface, ...]) -> None:
    """Raise what ``choose`` would, before anything is started."""
    for card in cards:
        _refuse(card)
        if card.network is not None:
            networks.check(card.network)


def _refuse(card: Interface) -> None:
    """No kind of card here can have its packets tagged or filtered, and no switch is there but the kernel's bridge.

    Source: conf/domain_conf.c, virDomainActualNetDefValidate.
    """
    if card.filterref is not None:
        raise errors.NoNwfilter(f"no nwfilter with matching name '{card.filterref.filter}'")
    if card.virtualport is not None:
        raise errors.ConfigUnsupported(
            f"interface {card.mac} - <virtualport type='{card.virtualport.type}'> is not supported on this host"
        )
    if card.vlan is not None:
        raise errors.ConfigUnsupported(f"interface {card.mac} - vlan tag not supported for this connection type")
