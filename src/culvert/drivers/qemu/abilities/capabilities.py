"""The host capabilities XML (CONNECT_GET_CAPABILITIES): the host, its CPUs, and what guests it can run.

Elements and their order: libvirt docs/formatcaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from lxml import etree

from culvert.drivers.qemu.abilities.machines import Machines
from culvert.drivers.qemu.abilities.nodeinfo import HostCpu, NodeInfo

WORD_SIZES = {"i686": "32", "x86_64": "64"}


def build(
    host_uuid: str,
    node: NodeInfo,
    cpus: Sequence[HostCpu],
    emulators: Sequence[Machines],
    pages: Sequence[int] = (),
    *,
    clusters: bool = False,
) -> str:
    """The XML text; ``emulators`` are those probed, the first one is listed first; ``pages``: sizes in KiB.

    ``clusters``: CPUs are in clusters, as libvirt has it from 10.1 on and its schema forbade before: on x86 always in
    the first of their die.
    """
    root = etree.Element("capabilities")
    host = etree.SubElement(root, "host")
    etree.SubElement(host, "uuid").text = host_uuid
    cpu = etree.SubElement(host, "cpu")
    etree.SubElement(cpu, "arch").text = node.model
    topology = {"sockets": node.sockets, "dies": 1, "cores": node.cores, "threads": node.threads}
    if clusters:
        topology["clusters"] = 1
    etree.SubElement(cpu, "topology", {name: str(value) for name, value in topology.items()})
    for size in pages:
        etree.SubElement(cpu, "pages", unit="KiB", size=str(size))
    etree.SubElement(host, "power_management")
    etree.SubElement(host, "iommu", support="no")
    migration = etree.SubElement(host, "migration_features")
    etree.SubElement(migration, "live")
    transports = etree.SubElement(migration, "uri_transports")
    etree.SubElement(transports, "uri_transport").text = "tcp"
    _topology(host, node, cpus, {"cluster_id": "0"} if clusters else {})
    for emulator in emulators:
        _guest(root, emulator)
    etree.indent(root)
    return str(etree.tostring(root, encoding="unicode")) + "\n"


def _topology(host: etree._Element, node: NodeInfo, cpus: Sequence[HostCpu], cluster: dict[str, str]) -> None:
    cells = [
        (number, list(members)) for number, members in groupby(sorted(cpus, key=_cell), key=lambda cpu: cpu.node)
    ]
    parent = etree.SubElement(etree.SubElement(host, "topology"), "cells", num=str(len(cells)))
    for number, members in cells:
        cell = etree.SubElement(parent, "cell", id=str(number))
        etree.SubElement(cell, "memory", unit="KiB").text = str(node.memory // len(cells))
        listed = etree.SubElement(cell, "cpus", num=str(len(members)))
        for cpu in members:
            place = {"socket_id": str(cpu.socket), "die_id": "0", **cluster, "core_id": str(cpu.core)}
            etree.SubElement(listed, "cpu", {"id": str(cpu.id), **place, "siblings": cpu.siblings})


def _cell(cpu: HostCpu) -> tuple[int, int]:
    return cpu.node, cpu.id


def _guest(root: etree._Element, emulator: Machines) -> None:
    guest = etree.SubElement(root, "guest")
    etree.SubElement(guest, "os_type").text = "hvm"
    arch = etree.SubElement(guest, "arch", name=emulator.arch)
    etree.SubElement(arch, "wordsize").text = WORD_SIZES[emulator.arch]
    etree.SubElement(arch, "emulator").text = emulator.emulator
    for machine in emulator.offered:
        told = {"maxCpus": str(machine.max_cpus), **({"deprecated": "yes"} if machine.deprecated else {})}
        etree.SubElement(arch, "machine", told).text = machine.name
        if machine.alias:
            etree.SubElement(arch, "machine", {"canonical": machine.name, **told}).text = machine.alias
    etree.SubElement(arch, "domain", type="qemu")
    if emulator.kvm:
        etree.SubElement(arch, "domain", type="kvm")
    features = etree.SubElement(guest, "features")
    etree.SubElement(features, "acpi", default="on", toggle="yes")
    etree.SubElement(features, "apic", default="on", toggle="no")
    for name in ("pae", "nonpae") if emulator.arch == "i686" else ():
        etree.SubElement(features, name)
