"""Character devices: ``<serial>``, ``<console>`` and ``<channel>`` on pty, file, unix, tcp and null.

Source: docs/formatdomain, "Consoles, serial, parallel & channel devices".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from culvert.domain import address
from culvert.domain.binding import BLANK, attribute, child, lone, variant
from culvert.domain.scalars import ANY_TEXT, ON_OFF, TEXT, UINT, Pattern, one_of

SERVICE = Pattern(r"[^\s,=]+", "port or name of a service")
BACKENDS = one_of("pty", "file", "unix", "tcp", "null")
CHANNEL_BACKENDS = one_of(*BACKENDS.words, "spicevmc", "spiceport")
SPICE_PORT = Pattern(r"[^\s,=]+", "name of a SPICE port")
SPICE = frozenset({"spicevmc", "spiceport"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChardevSource:
    """The host's end: ``path`` for pty (in a running domain), file and unix; host and service for tcp."""

    mode: Annotated[str | None, attribute("mode", one_of("bind", "connect"))] = None
    host: Annotated[str | None, attribute("host", Pattern(r"[^\s,=]+", "host name or address"), silent=BLANK)] = None
    service: Annotated[str | None, attribute("service", SERVICE, silent=BLANK)] = None
    path: Annotated[str | None, attribute("path", TEXT, silent=BLANK)] = None
    append: Annotated[bool | None, attribute("append", ON_OFF)] = None
    channel: Annotated[str | None, attribute("channel", SPICE_PORT, silent=BLANK)] = None
    tls: Annotated[str | None, attribute("tls", one_of("no"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChardevLog:
    """A copy of what the guest writes."""

    file: Annotated[str | None, attribute("file", TEXT, silent=BLANK)] = None
    append: Annotated[bool | None, attribute("append", ON_OFF)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialTarget:
    """An ISA serial port; port 0 is COM1."""

    type: Annotated[str | None, attribute("type", one_of("isa-serial"))] = None
    port: Annotated[int | None, attribute("port", UINT)] = None
    model: Annotated[str | None, lone("model", "name", one_of("isa-serial"), silent=BLANK)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleTarget:
    """``serial``: another name for a serial port; ``virtio``: a console of its own."""

    type: Annotated[str | None, attribute("type", one_of("serial", "virtio"))] = None
    port: Annotated[int | None, attribute("port", UINT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTarget:
    """A virtio-serial port, found by ``name`` in the guest; ``state`` is known in a running domain."""

    type: Annotated[str, attribute("type", one_of("virtio"))]
    name: Annotated[str | None, attribute("name", Pattern(r"[^\s/]+", "channel name"), silent=BLANK)] = None
    state: Annotated[str | None, attribute("state", one_of("connected", "disconnected"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Serial:
    """``<serial>``."""

    type: Annotated[str, attribute("type", BACKENDS)] = "pty"
    source: Annotated[ChardevSource | None, child("source", ChardevSource)] = None
    protocol: Annotated[str | None, lone("protocol", "type", one_of("raw", "telnet"))] = None
    log: Annotated[ChardevLog | None, child("log", ChardevLog, hollow="file")] = None
    target: Annotated[SerialTarget | None, child("target", SerialTarget)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleDevice:
    """``<console>``; ``tty`` repeats the path of a pty, for clients of old."""

    type: Annotated[str, attribute("type", BACKENDS)] = "pty"
    tty: Annotated[str | None, attribute("tty", TEXT, silent=BLANK)] = None
    source: Annotated[ChardevSource | None, child("source", ChardevSource)] = None
    protocol: Annotated[str | None, lone("protocol", "type", one_of("raw", "telnet"))] = None
    log: Annotated[ChardevLog | None, child("log", ChardevLog, hollow="file")] = None
    target: Annotated[ConsoleTarget | None, child("target", ConsoleTarget)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.SerialPortAddress | None, variant("address", "type", address.SERIAL_PORT)] = None

    @property
    def is_virtio(self) -> bool:
        return self.target is not None and self.target.type == "virtio"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelDevice:
    """``<channel>``; ``spicevmc`` and ``spiceport``: at the other end is who looks at the guest."""

    type: Annotated[str, attribute("type", CHANNEL_BACKENDS)] = "pty"
    source: Annotated[ChardevSource | None, child("source", ChardevSource)] = None
    protocol: Annotated[str | None, lone("protocol", "type", one_of("raw", "telnet"))] = None
    log: Annotated[ChardevLog | None, child("log", ChardevLog, hollow="file")] = None
    target: Annotated[ChannelTarget, child("target", ChannelTarget)]
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.SerialPortAddress | None, variant("address", "type", address.SERIAL_PORT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirdev:
    """A USB device of whoever looks at the guest by SPICE, once that one plugs it in."""

    bus: Annotated[str, attribute("bus", one_of("usb"))] = "usb"
    type: Annotated[str, attribute("type", one_of("spicevmc"))]
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.UsbAddress | None, variant("address", "type", address.USB)] = None


Chardev: TypeAlias = Serial | ConsoleDevice | ChannelDevice
