"""Network XML → ``NetworkDef``, and back as libvirt lays it out."""

from __future__ import annotations

from dataclasses import replace

from culvert.domain import binding, xml
from culvert.domain.network import check
from culvert.domain.network.definition import Bridge, Forward, HostDevice, NetworkDef
from culvert.ground import errors

# Elements that libvirt closes on a line of their own, also with nothing in them.
SPREAD = ("ip", "portgroup")


def parse(text: str) -> NetworkDef:
    """Read a network's description. Raises ``errors.XMLError``, ``errors.ConfigUnsupported`` as for a domain."""
    root = xml.read(text)
    if root.tag != "network":
        raise errors.XMLError(f"XML error: unexpected root element <{root.tag}>, expecting <network>")
    told = _normal(binding.read(NetworkDef, root, "/network"))
    check.check_read(told, stp_given=root.find("bridge[@stp]") is not None)
    return told


def _normal(told: NetworkDef) -> NetworkDef:
    """With what libvirt says where nothing is said, and without what it leaves out."""
    forward = None if told.forward is None else _forward(told.forward, told.name)
    bridge = told.bridge
    if forward is None or forward.mode in ("nat", "route", "open"):
        known = bridge or Bridge()
        bridge = replace(known, stp=known.stp is not False, delay=known.delay or 0)
    ips = tuple(
        replace(one, dhcp=None) if one.dhcp is not None and not (one.gives or one.dhcp.bootp) else one
        for one in told.ips
    )
    dns = None if told.dns is None or told.dns == type(told.dns)() else told.dns
    return replace(told, connections=None, ipv6=told.ipv6 or None, forward=forward, bridge=bridge, ips=ips, dns=dns)


def _forward(forward: Forward, name: str) -> Forward:
    """``dev`` is the first device, and every device is listed."""
    devices = [one.dev for one in forward.interfaces]
    if forward.dev is not None and devices and devices[0] != forward.dev:
        raise errors.XMLError(
            f"XML error: <forward dev='{forward.dev}'> must match first <interface dev='{devices[0]}'/>"
            f" in network {name}"
        )
    for one in devices:
        if devices.count(one) > 1:
            raise errors.XMLError(f"XML error: interface '{one}' can only be listed once in network {name}")
    if forward.dev is not None and not devices:
        devices = [forward.dev]
    listed = tuple(HostDevice(dev=one) for one in devices)
    return replace(forward, dev=devices[0] if devices else None, interfaces=listed)


def format(network: NetworkDef, *, connections: int = 0) -> str:
    """The XML of ``network``; ``connections``: how many cards are plugged in, for one that is active."""
    node = binding.write(replace(network, connections=connections or None), "network")
    _lay_out(node)
    return xml.render(node)


def _lay_out(node: xml.Node) -> None:
    for one in node.children:
        if isinstance(one, xml.Node):
            if one.tag in SPREAD:
                one.spread = True
            if one.tag == "lease" and one.attributes.get("expiry") == "0":
                one.attributes.pop("unit", None)
            elif one.tag == "lease":
                one.attributes.setdefault("unit", "minutes")
            _lay_out(one)
