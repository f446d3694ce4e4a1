"""``DomainDef`` → domain XML, in the order and the layout of libvirt's own output."""

from __future__ import annotations

from dataclasses import replace

from culvert.domain import aliases, binding, firmware, interface, xml
from culvert.domain.cpu import Cpu
from culvert.domain.definition import DomainDef
from culvert.domain.devices import Devices
from culvert.domain.disk import as_told, without_cookies
from culvert.domain.display import Graphics, Video, virtio_device


def format(
    definition: DomainDef,
    *,
    domain_id: int | None = None,
    migratable: bool = False,
    secure: bool = False,
    status: bool = False,
) -> str:
    """The XML of ``definition``.

    ``domain_id`` is that of the running domain. ``migratable``: the form in which a live definition travels to
    another host (VIR_DOMAIN_XML_MIGRATABLE): no id, no aliases, nothing that is known only here, and without the
    devices every host adds by itself. ``secure`` keeps passwords (VIR_DOMAIN_XML_SECURE). ``status``: with what
    the next daemon must know of a run.
    """
    shown = definition if domain_id is None else replace(definition, id=domain_id)
    if migratable:
        shown = _without_implicit(aliases.strip(replace(shown, id=None)))
    return xml.render(node(shown, "domain", secure=secure, status=status))


def node(definition: DomainDef, tag: str, *, secure: bool = False, status: bool = False) -> xml.Node:
    """``definition`` as an element ``tag`` of some document."""
    if not status:
        devices = definition.devices
        told = tuple(as_told(disk) for disk in devices.disks)
        definition = replace(definition, devices=replace(devices, disks=told))
    made = binding.write(definition if secure else _without_secrets(definition), tag)
    if any(isinstance(one, xml.Node) and one.tag.startswith(xml.QEMU_SPACE) for one in made.children):
        made.attributes["xmlns:qemu"] = xml.QEMU_SPACE_NAME
    return made


def _without_secrets(definition: DomainDef) -> DomainDef:
    graphics = tuple(replace(one, passwd=None) for one in definition.devices.graphics)
    disks = tuple(without_cookies(one) for one in definition.devices.disks)
    return replace(definition, devices=replace(definition.devices, graphics=graphics, disks=disks))


def _without_implicit(definition: DomainDef) -> DomainDef:
    """Leave out what ``defaults`` creates anew: default USB, lone pci-root, the chip's watchdog, audio none; and what
    later libvirts say of every machine, which an earlier culvert does not take.

    Source: qemu/qemu_domain.c, qemuDomainDefFormatBufInternal.
    """
    devices = definition.devices
    controllers = devices.controllers
    if not definition.is_q35:
        pci = [one for one in controllers if one.type == "pci"]
        usb = [one for one in controllers if one.type == "usb"]
        if len(usb) == 1 and usb[0].index == 0 and usb[0].model == "piix3-uhci":
            controllers = tuple(one for one in controllers if one.type != "usb")
        if len(pci) == 1 and pci[0].model == "pci-root":
            controllers = tuple(one for one in controllers if one.type != "pci")
    audios = tuple(one for one in devices.audios if one.type != "none")
    graphics = tuple(_unresolved(one) for one in devices.graphics)
    cards = tuple(interface.unplugged(one) for one in devices.interfaces)
    watchdogs = tuple(one for one in devices.watchdogs if (one.model, one.action) != ("itco", "reset"))
    sockets = devices.vsock
    if sockets is not None and sockets.cid is not None and sockets.cid.auto:
        # Chosen anew by the host that it comes to.
        sockets = replace(sockets, cid=replace(sockets.cid, address=None))
    kept: Devices = replace(
        devices,
        vsock=sockets,
        controllers=controllers,
        audios=audios,
        graphics=graphics,
        interfaces=cards,
        watchdogs=watchdogs,
        videos=tuple(_unnamed(one, primary=place == 0) for place, one in enumerate(devices.videos)),
    )
    # By which one was chosen says nothing of the one that it is now.
    found = definition.os.firmware is None
    os = firmware.unplaced(replace(definition.os, firmware_wish=None) if found else definition.os)
    return replace(definition, os=os, cpu=_without_clusters(definition.cpu), devices=kept)


def _unnamed(video: Video, *, primary: bool) -> Video:
    unnamed = replace(video.model, device=None)
    same = virtio_device(unnamed, primary=primary) == video.model.device
    return replace(video, model=unnamed) if same else video


def _without_clusters(cpu: Cpu | None) -> Cpu | None:
    if cpu is None or cpu.topology is None:
        return cpu
    return replace(cpu, topology=replace(cpu.topology, clusters=None))


def _unresolved(graphics: Graphics) -> Graphics:
    """Its ports are chosen anew by the host that it comes to."""
    if not graphics.autoport:
        return graphics
    chosen = graphics.websocket is not None and graphics.websocket > 0
    told = {"tls_port": None, "port": None} if graphics.is_spice else {"port": -1}
    return replace(graphics, **told, websocket=-1 if chosen else graphics.websocket)
