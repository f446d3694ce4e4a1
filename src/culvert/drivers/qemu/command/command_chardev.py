"""``-chardev`` and the ports of serials, channels and consoles.

Source: qemu/qemu_command.c and qemu/qemu_chardev.c of libvirt 9.0.
"""

from __future__ import annotations

from culvert.domain.chardev import ChannelDevice, Chardev, ChardevSource, ConsoleDevice
from culvert.domain.definition import DomainDef
from culvert.drivers.qemu.command.command_syntax import comma, controller_alias, device, on_off
from culvert.ground import errors

# Type of a channel that needs no name → the one that programs in the guest look for.
DEFAULT_NAMES = {"spicevmc": "com.redhat.spice.0"}


def chardevs(definition: DomainDef, *, incoming: bool, channel_directory: str | None) -> list[str]:
    """Serials, channels, consoles, in libvirt's order.

    ``incoming``: files are continued, not begun anew, for the guest has written to them before. A unix channel
    without a path gets a socket in ``channel_directory``.
    """
    argv: list[str] = []
    devices = definition.devices
    for serial in devices.serials:
        target = serial.target
        argv += ["-chardev", _backend(serial, incoming)]
        argv += device(
            {
                "driver": "isa-serial",
                "chardev": f"char{serial.alias}",
                "id": serial.alias,
                "index": target.port if target else 0,
            }
        )
    for channel in devices.channels:
        argv += ["-chardev", _backend(_with_path(channel, channel_directory), incoming)]
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
            argv += ["-chardev", _backend(console, incoming)]
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
    if port.address is None:
        return {}  # QEMU takes the next free port, for libvirt's consoles as for ours
    alias = controller_alias(definition, "virtio-serial", port.address.controller, f"port '{port.alias}'")
    return {"bus": f"{alias}.{port.address.bus}", "nr": port.address.port}


def _backend(chardev: Chardev, incoming: bool) -> str:
    source = chardev.source or ChardevSource()
    name = f"id=char{chardev.alias}"
    listening = ",server=on,wait=off" if source.mode != "connect" else ""
    match chardev.type:
        case "file":
            append = bool(source.append) or incoming
            text = f"file,{name},path={_path(chardev, source)},append={on_off(append)}"
        case "unix":
            text = f"socket,{name},path={_path(chardev, source)}{listening}"
        case "tcp":
            if source.host is None or source.service is None:
                raise errors.XMLError(f"XML error: tcp {chardev.alias} needs <source> with host and service")
            telnet = ",telnet=on" if chardev.protocol == "telnet" else ""
            text = f"socket,{name},host={source.host},port={source.service}{telnet}{listening}"
        case "spicevmc":
            text = f"spicevmc,{name},name=vdagent"
        case "spiceport":
            text = f"spiceport,{name},name={comma(source.channel or '')}"
        case backend:
            text = f"{backend},{name}"
    if chardev.log is not None and chardev.log.file is not None:
        text += f",logfile={comma(chardev.log.file)},logappend={on_off(chardev.log.append is not False or incoming)}"
    return text


def _path(chardev: Chardev, source: ChardevSource) -> str:
    if not source.path:
        raise errors.XMLError(f"XML error: {chardev.type} {chardev.alias} needs <source> with a path")
    return comma(source.path)
