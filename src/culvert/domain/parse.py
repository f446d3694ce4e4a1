"""Domain XML → ``DomainDef``."""

from __future__ import annotations

from dataclasses import replace

from lxml import etree

from culvert.domain import aliases, binding, interface, xml
from culvert.domain.cpu import Cpu
from culvert.domain.definition import DomainDef
from culvert.domain.disk import Disk, unnumbered
from culvert.domain.display import Graphics
from culvert.domain.interface import Interface
from culvert.ground import errors

ROOT = "domain"


# What a <cpu> of a host has besides (docs/formatcaps of libvirt).
HOST_CPU = ("arch", "microcode", "signature", "counter", "maxphysaddr", "pages")


def parse(text: str, *, live: bool = False) -> DomainDef:
    """Read a domain description.

    What belongs to a running domain only (id, aliases libvirt made, tty of a pty console, state of a channel, indexes
    of disk sources) is kept when ``live``, else left out as libvirt does with what users send; aliases of the user's
    own (``ua-…``) are always kept. Labels that a libvirt's security driver has made up are left out.

    Raises ``errors.XMLError`` for text that is no domain description, ``errors.ConfigUnsupported`` with the path of
    the first element, attribute or value that culvert does not support.
    """
    root = xml.read(text)
    if root.tag != ROOT:
        raise errors.XMLError(f"XML error: unexpected root element <{root.tag}>, expecting <{ROOT}>")
    _forget_labels(root)
    if not live:
        _forget_the_run(root)
    definition = binding.read(DomainDef, root, f"/{ROOT}")
    return definition if live else aliases.strip(_unplugged(replace(definition, id=None)))


def _unplugged(definition: DomainDef) -> DomainDef:
    cards = tuple(interface.unplugged(card) for card in definition.devices.interfaces)
    return replace(definition, devices=replace(definition.devices, interfaces=cards))


# Attributes of a running domain only, which nobody's definition is held to: path below the root, name.
OF_THE_RUN = (
    (".", "id"),
    ("devices/console", "tty"),
    ("devices/channel/target", "state"),
    ("devices/disk/source", "index"),
    ("devices/disk//backingStore", "index"),
    ("devices/disk//backingStore", "detected"),
)


def _forget_the_run(root: etree._Element) -> None:
    for card in root.iterfind("devices/interface"):
        _forget_the_plug(card)
    for path, name in OF_THE_RUN:
        for element in root.iterfind(path):
            if name in element.attrib:
                del element.attrib[name]


def _forget_the_plug(card: etree._Element) -> None:
    """Where a card of a network has been plugged in for one run: what counts is its type, and that type's source.

    Source: conf/domain_conf.c of libvirt 9.0, virDomainNetDefParseXML.
    """
    source = card.find("source")
    if source is not None:
        forgotten = ("portid", "bridge") if card.get("type") == "network" else ("network", "portgroup", "portid")
        for name in forgotten:
            if name in source.attrib:
                del source.attrib[name]


def _forget_labels(root: etree._Element) -> None:
    """A label that the security driver of a libvirt has made up says nothing of the guest, and there is no such
    driver here. One that somebody has chosen is a wish, refused like any other that cannot be met.

    Source: conf/domain_conf.c, virSecurityLabelDefFormat; docs/formatdomain, "Security label".
    """
    for label in root.findall("seclabel"):
        if label.get("type") == "dynamic" and label.find("baselabel") is None:
            root.remove(label)
        elif label.get("type") == "none":
            label[:] = []


def parse_device(text: str) -> Disk | Interface:
    """Read one device of a kind that can be plugged in. Raises as ``parse``."""
    root = xml.read(text)
    if root.tag == "disk":
        disk = binding.read(Disk, root, "/disk")
        return unnumbered(disk)
    if root.tag == "interface":
        _forget_the_plug(root)
        return interface.unplugged(binding.read(Interface, root, "/interface"))
    raise errors.ConfigUnsupported(
        f"unsupported configuration: a device <{root.tag}> cannot be plugged in or out: <disk> and <interface> can"
    )


def parse_changed(text: str) -> Disk | Interface | Graphics:
    """Read one device of a kind that can be changed. Raises as ``parse``."""
    root = xml.read(text)
    return binding.read(Graphics, root, "/graphics") if root.tag == "graphics" else parse_device(text)


def parse_cpu(text: str, *, of_host: bool = False) -> Cpu:
    """Read a ``<cpu>`` of its own, as it travels in a migration cookie; ``of_host``: it may be one that a host's
    capabilities describe, of which only what a guest can see counts. Raises as ``parse``."""
    root = xml.read(text)
    if root.tag != "cpu":
        raise errors.XMLError(f"XML error: unexpected root element <{root.tag}>, expecting <cpu>")
    if of_host:
        for sub in [sub for sub in root if sub.tag in HOST_CPU]:
            root.remove(sub)
    return binding.read(Cpu, root, "/cpu")
