"""``-chardev``, and the ports of serials, parallels, channels and consoles, and smart cards.

Source: qemu/qemu_command.c and qemu/qemu_chardev.c of libvirt 9.0.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from culvert.domain.address import CcidAddress, IsaAddress, SerialPortAddress
from culvert.domain.chardev import (
    SERIAL_MODELS,
    ChannelDevice,
    Chardev,
    ChardevSource,
    ConsoleDevice,
    Reconnect,
    Serial,
    SerialTarget,
    Smartcard,
)
from culvert.domain.definition import DomainDef
from culvert.domain.peripheral import RngBackend
from culvert.drivers.qemu.command.command_syntax import (
    comma,
    controller_alias,
    device,
    on_off,
    option,
    pci,
    usb_place,
)
from culvert.ground import errors

Backed: TypeAlias = Chardev | RngBackend

# Type of a channel that needs no name → the one that programs in the guest look for.
DEFAULT_NAMES = {"spicevmc": "com.redhat.spice.0", "qemu-vdagent": "com.redhat.spice.0"}


def chardevs(definition: DomainDef, *, incoming: bool, channel_directory: str | None) -> list[str]:
    """Serials, channels, consoles, in libvirt's order.

    ``incoming``: files are continued, not begun anew, for the guest has written to them before. A unix channel
    without a path gets a socket in ``channel_directory``.
    """
    argv: list[str] = []
    devices = definition.devices
    for card in devices.smartcards:
        argv += _smartcard(definition, card, incoming)
    for serial in devices.serials:
        argv += ["-chardev", backend(serial, f"char{serial.alias}", incoming)]
        argv += device(_serial(definition, serial))
    for parallel in devices.parallels:
        argv += ["-chardev", backend(parallel, f"char{parallel.alias}", incoming)]
        driver = {"driver": "isa-parallel", "chardev": f"char{parallel.alias}", "id": parallel.alias}
        argv += device({**driver, **_isa(parallel.address)})
    for channel in devices.channels:
        argv += ["-chardev", backend(_with_path(channel, channel_directory), f"char{channel.alias}", incoming)]
        if channel.target.type == "guestfwd":
            to = f"tcp:{channel.target.address}:{channel.target.port}-chardev:char{channel.alias}"
            argv += option("-netdev", {"type": "user", "guestfwd": [{"str": to}], "id": channel.alias})
            continue
        argv += device(
            {
                "driver": "virtserialport",
                **_port(definition, channel),
                "chardev": f"char{channel.alias}",
                "id": channel.alias,
                "name": channel.target.name or DEFAULT_NAMES.get(channel.type),
            }
        )
    for console in devices.consoles:
        if console.is_virtio:
            argv += ["-chardev", backend(console, f"char{console.alias}", incoming)]
            argv += device(
                {
                    "driver": "virtconsole",
                    **_port(definition, console),
                    "chardev": f"char{console.alias}",
                    "id": console.alias,
                }
            )
    return argv


def channel_file(channel: ChannelDevice) -> str:
    """The file name of the socket of a channel whose XML names none."""
    return channel.target.name or channel.alias or "channel"


def _with_path(channel: ChannelDevice, directory: str | None) -> ChannelDevice:
    if channel.type != "unix" or (channel.source is not None and channel.source.path):
        return channel
    if directory is None:
        raise errors.InternalError(f"internal error: channel '{channel_file(channel)}' has no socket path")
    source = ChardevSource(mode="bind", path=f"{directory}/{channel_file(channel)}")
    return ChannelDevice(type="unix", source=source, target=channel.target, log=channel.log, alias=channel.alias)


def _port(definition: DomainDef, port: ChannelDevice | ConsoleDevice) -> dict[str, object]:
    if not isinstance(port.address, SerialPortAddress):
        return {}  # QEMU takes the next free port, for libvirt's consoles as for ours
    alias = controller_alias(definition, "virtio-serial", port.address.controller, f"port '{port.alias}'")
    return {"bus": f"{alias}.{port.address.bus}", "nr": port.address.port}


def _serial(definition: DomainDef, serial: Serial) -> dict[str, Any]:
    target = serial.target or SerialTarget()
    kind = target.type or "isa-serial"
    told: dict[str, Any] = {
        "driver": SERIAL_MODELS[kind],
        "chardev": f"char{serial.alias}",
        "id": serial.alias,
        "index": (target.port or 0) if kind == "isa-serial" else None,
    }
    match kind:
        case "pci-serial":
            return {**told, **pci(definition, serial.address, f"serial '{serial.alias}'")}
        case "usb-serial":
            return {**told, **usb_place(definition, serial.address, f"serial '{serial.alias}'")}
        case _:
            return {**told, **_isa(serial.address)}


def _isa(address: object) -> dict[str, Any]:
    return {"iobase": address.iobase, "irq": address.irq} if isinstance(address, IsaAddress) else {}


def _smartcard(definition: DomainDef, card: Smartcard, incoming: bool) -> list[str]:
    place = card.address or CcidAddress()
    reader = controller_alias(definition, "ccid", place.controller, f"smartcard '{card.alias}'")
    there = {"id": card.alias, "bus": f"{reader}.{place.slot}"}
    if card.mode == "passthrough":
        told = ["-chardev", backend(card, f"char{card.alias}", incoming, name="smartcard")]
        return [*told, *device({"driver": "ccid-card-passthru", "chardev": f"char{card.alias}", **there})]
    names = {f"cert{number}": one.name for number, one in enumerate(card.certificates, start=1)}
    kind = "nss-emulated" if card.mode == "host" else "certificates"
    base = "/etc/pki/nssdb" if card.mode == "host-certificates" and not card.database else card.database
    return device({"driver": "ccid-card-emulated", "backend": kind, **names, "db": base, **there})


def backend(chardev: Backed, alias: str, incoming: bool, *, name: str = "vdagent") -> str:
    """``-chardev`` of what is behind a device; ``name``: what it is to a SPICE server.

    Raises ``errors.XMLError`` where its source is not said.
    """
    source = chardev.source or ChardevSource()
    head = f"id={alias}"
    listening = ",server=on,wait=off" if source.mode != "connect" else ""
    again = "" if source.reconnect is None else f",reconnect={_seconds(source.reconnect)}"
    match chardev.type:
        case "file":
            append = bool(source.append) or incoming
            text = f"file,{head},path={_path(chardev, alias, source)},append={on_off(append)}"
        case "dev":
            kind = "parallel" if alias.startswith("charparallel") else "serial"
            text = f"{kind},{head},path={_path(chardev, alias, source)}"
        case "pipe":
            text = f"pipe,{head},path={_path(chardev, alias, source)}"
        case "unix":
            text = f"socket,{head},path={_path(chardev, alias, source)}{listening}{again}"
        case "tcp":
            if source.host is None or source.service is None:
                raise errors.XMLError(f"XML error: tcp {alias} needs <source> with host and service")
            telnet = ",telnet=on" if chardev.protocol == "telnet" else ""
            text = f"socket,{head},host={source.host},port={source.service}{telnet}{listening}{again}"
        case "udp":
            text = f"udp,{head},{_udp(chardev)}"
        case "spicevmc":
            text = f"spicevmc,{head},name={name}"
        case "spiceport" | "dbus":
            text = f"{chardev.type},{head},name={comma(source.channel or '')}"
        case "qemu-vdagent":
            text = f"qemu-vdagent,{head},name=vdagent{_agent(source)}"
        case other:
            text = f"{other},{head}"
    log = None if isinstance(chardev, RngBackend) else chardev.log
    if log is not None and log.file is not None:
        text += f",logfile={comma(log.file)},logappend={on_off(log.append is not False or incoming)}"
    return text


def _seconds(told: Reconnect) -> int:
    return (told.timeout or 0) if told.enabled else 0


def _udp(chardev: Backed) -> str:
    both = [one for one in (chardev.source, chardev.second) if one is not None]
    to = next((one for one in both if one.mode == "connect"), None)
    at = next((one for one in both if one.mode == "bind"), ChardevSource())
    if to is None or to.service is None:
        raise errors.XMLError("XML error: udp needs <source mode='connect'> with a service")
    return f"host={to.host or ''},port={to.service},localaddr={at.host or ''},localport={at.service or 0}"


def _agent(source: ChardevSource) -> str:
    told = "" if source.clipboard is None else f",clipboard={on_off(source.clipboard.copypaste)}"
    return told if source.mouse is None else f"{told},mouse={on_off(source.mouse == 'client')}"


def _path(chardev: Backed, alias: str, source: ChardevSource) -> str:
    if not source.path:
        raise errors.XMLError(f"XML error: {chardev.type} {alias} needs <source> with a path")
    return comma(source.path)


def as_qmp(text: str) -> dict[str, Any]:
    """What ``chardev-add`` is given for an argument of ``-chardev`` that ``backend`` has made (qapi/char.json)."""
    parts = text.replace(",,", "\0").split(",")
    told = {name: value.replace("\0", ",") for name, _, value in (part.partition("=") for part in parts[1:])}
    kind = parts[0]
    data: dict[str, Any] = {}
    match kind:
        case "socket":
            unix = {"type": "unix", "data": {"path": told.get("path")}}
            inet = {"type": "inet", "data": {"host": told.get("host"), "port": told.get("port")}}
            data = {"addr": unix if "path" in told else inet, "server": told.get("server") == "on"}
            data |= {"wait": False} if data["server"] else {}
            data |= {"telnet": True} if told.get("telnet") == "on" else {}
            data |= {name: int(told[name]) for name in ("reconnect", "reconnect-ms") if name in told}
        case "udp":
            remote, local = {"host": told["host"], "port": told["port"]}, told["localaddr"]
            data = {"remote": {"type": "inet", "data": remote}}
            data["local"] = {"type": "inet", "data": {"host": local, "port": told["localport"]}}
        case "file":
            data = {"out": told["path"], "append": told.get("append") == "on"}
        case "serial" | "parallel" | "pipe":
            data = {"device": told["path"]}
        case "spicevmc":
            data = {"type": told["name"]}
        case "spiceport":
            data = {"fqdn": told["name"]}
        case "dbus":
            data = {"name": told["name"]}
        case "qemu-vdagent":
            data = {name: told[name] == "on" for name in ("mouse", "clipboard") if name in told}
    if "logfile" in told:
        data |= {"logfile": told["logfile"], "logappend": told.get("logappend") == "on"}
    return {"id": told["id"], "backend": {"type": kind, "data": data}}


_SECONDS = re.compile(r",reconnect=([0-9]+)")


def for_milliseconds(argv: list[str]) -> list[str]:
    """``argv`` for a QEMU that counts in these until it connects again."""
    told = []
    for flag, word in zip(["", *argv], argv, strict=False):
        told.append(
            _SECONDS.sub(lambda found: f",reconnect-ms={int(found[1]) * 1000}", word) if flag == "-chardev" else word
        )
    return told
