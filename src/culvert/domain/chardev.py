"""Character devices: ``<serial>``, ``<parallel>``, ``<console>``, ``<channel>``, ``<redirdev>``, ``<smartcard>``.

Source: docs/formatdomain, "Consoles, serial, parallel & channel devices".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from culvert.domain import address
from culvert.domain.binding import BLANK, again, attribute, child, children, content, leaf, lone, variant
from culvert.domain.scalars import ANY_TEXT, ON_OFF, PATH, TEXT, TOKEN, UINT, YES_NO, Integer, Pattern, one_of

SERVICE = Pattern(r"[^\s,=]+", "port or name of a service")
BACKENDS = one_of(
    *("pty", "file", "unix", "tcp", "null", "dev", "pipe", "stdio", "udp", "vc", "spicevmc", "spiceport"),
    *("qemu-vdagent", "dbus"),
)
SPICE_PORT = Pattern(r"[^\s,=]+", "name of a SPICE port")
USB_ID = Pattern(r"0x[0-9A-Fa-f]{1,4}", "number of a vendor or product (0x15E1)")
USB_VERSION = Pattern(r"[0-9]{1,2}\.[0-9]{1,2}", "version (1.10)")
SPICE = frozenset({"spicevmc", "spiceport"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """``timeout``: seconds until it is tried again."""

    enabled: Annotated[bool, attribute("enabled", YES_NO)]
    timeout: Annotated[int | None, attribute("timeout", UINT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSeclabel:
    """What a security driver is to do with the file of a device: nothing."""

    model: Annotated[str | None, attribute("model", TOKEN)] = None
    relabel: Annotated[bool, attribute("relabel", YES_NO)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipboard:
    """Whether the guest's agent shares it."""

    copypaste: Annotated[bool, attribute("copypaste", YES_NO)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChardevSource:
    """The host's end: ``path`` for pty (in a running domain), file, dev, pipe and unix; host and service for tcp and
    udp, which may have a second one that it listens on."""

    mode: Annotated[str | None, attribute("mode", one_of("bind", "connect"))] = None
    host: Annotated[str | None, attribute("host", Pattern(r"[^\s,=]+", "host name or address"), silent=BLANK)] = None
    service: Annotated[str | None, attribute("service", SERVICE, silent=BLANK)] = None
    path: Annotated[str | None, attribute("path", TEXT, silent=BLANK)] = None
    append: Annotated[bool | None, attribute("append", ON_OFF)] = None
    channel: Annotated[str | None, attribute("channel", SPICE_PORT, silent=BLANK)] = None
    tls: Annotated[bool | None, attribute("tls", YES_NO)] = None
    seclabels: Annotated[tuple[SourceSeclabel, ...], children("seclabel", SourceSeclabel)] = ()
    reconnect: Annotated[Reconnect | None, child("reconnect", Reconnect)] = None
    clipboard: Annotated[Clipboard | None, child("clipboard", Clipboard)] = None
    mouse: Annotated[str | None, lone("mouse", "mode", one_of("client", "server"))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChardevLog:
    """A copy of what the guest writes."""

    file: Annotated[str | None, attribute("file", TEXT, silent=BLANK)] = None
    append: Annotated[bool | None, attribute("append", ON_OFF)] = None


# Type of a serial port → its model.
SERIAL_MODELS = {
    "isa-serial": "isa-serial",
    "pci-serial": "pci-serial",
    "usb-serial": "usb-serial",
    "isa-debug": "isa-debugcon",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialTarget:
    """A serial port; port 0 on ISA is COM1."""

    type: Annotated[str | None, attribute("type", one_of(*SERIAL_MODELS))] = None
    port: Annotated[int | None, attribute("port", UINT)] = None
    model: Annotated[str | None, lone("model", "name", one_of(*SERIAL_MODELS.values()), silent=BLANK)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelTarget:
    """A parallel port by its number."""

    port: Annotated[int | None, attribute("port", UINT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleTarget:
    """``serial``: another name for a serial port; ``virtio``: a console of its own."""

    type: Annotated[str | None, attribute("type", one_of("serial", "virtio"))] = None
    port: Annotated[int | None, attribute("port", UINT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTarget:
    """A virtio-serial port, found by ``name`` in the guest; ``state`` is known in a running domain. ``guestfwd``:
    what the guest sends to this address of its own network."""

    type: Annotated[str, attribute("type", one_of("virtio", "guestfwd"))]
    name: Annotated[str | None, attribute("name", Pattern(r"[^\s/]+", "channel name"), silent=BLANK)] = None
    state: Annotated[str | None, attribute("state", one_of("connected", "disconnected"))] = None
    address: Annotated[str | None, attribute("address", Pattern(r"[0-9.]+", "IPv4 address"))] = None
    port: Annotated[int | None, attribute("port", Integer(low=1, high=65535))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Serial:
    """``<serial>``."""

    type: Annotated[str, attribute("type", BACKENDS)] = "pty"
    source: Annotated[ChardevSource | None, child("source", ChardevSource)] = None
    second: Annotated[ChardevSource | None, again("source", ChardevSource)] = None
    protocol: Annotated[str | None, lone("protocol", "type", one_of("raw", "telnet"))] = None
    log: Annotated[ChardevLog | None, child("log", ChardevLog, hollow="file")] = None
    target: Annotated[SerialTarget | None, child("target", SerialTarget)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[
        address.IsaAddress | address.PciAddress | address.UsbAddress | None,
        variant("address", "type", address.SERIAL),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """``<parallel>``."""

    type: Annotated[str, attribute("type", BACKENDS)] = "pty"
    source: Annotated[ChardevSource | None, child("source", ChardevSource)] = None
    second: Annotated[ChardevSource | None, again("source", ChardevSource)] = None
    protocol: Annotated[str | None, lone("protocol", "type", one_of("raw", "telnet"))] = None
    log: Annotated[ChardevLog | None, child("log", ChardevLog, hollow="file")] = None
    target: Annotated[ParallelTarget | None, child("target", ParallelTarget)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.IsaAddress | None, variant("address", "type", address.ISA)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleDevice:
    """``<console>``; ``tty`` repeats the path of a pty, for clients of old."""

    type: Annotated[str, attribute("type", BACKENDS)] = "pty"
    tty: Annotated[str | None, attribute("tty", TEXT, silent=BLANK)] = None
    source: Annotated[ChardevSource | None, child("source", ChardevSource)] = None
    second: Annotated[ChardevSource | None, again("source", ChardevSource)] = None
    protocol: Annotated[str | None, lone("protocol", "type", one_of("raw", "telnet"))] = None
    log: Annotated[ChardevLog | None, child("log", ChardevLog, hollow="file")] = None
    target: Annotated[ConsoleTarget | None, child("target", ConsoleTarget)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.AnySerialAddress | None, variant("address", "type", address.CONSOLE)] = None

    @property
    def is_virtio(self) -> bool:
        return self.target is not None and self.target.type == "virtio"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelDevice:
    """``<channel>``; ``spicevmc`` and ``spiceport``: at the other end is who looks at the guest."""

    type: Annotated[str, attribute("type", BACKENDS)] = "pty"
    source: Annotated[ChardevSource | None, child("source", ChardevSource)] = None
    second: Annotated[ChardevSource | None, again("source", ChardevSource)] = None
    protocol: Annotated[str | None, lone("protocol", "type", one_of("raw", "telnet"))] = None
    log: Annotated[ChardevLog | None, child("log", ChardevLog, hollow="file")] = None
    target: Annotated[ChannelTarget, child("target", ChannelTarget)]
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.SerialPortAddress | None, variant("address", "type", address.SERIAL_PORT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The name of one of three."""

    name: Annotated[str, content(TEXT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirdev:
    """A USB device of another machine: of whoever looks at the guest by SPICE, or of who is at the other end."""

    bus: Annotated[str, attribute("bus", one_of("usb"))] = "usb"
    type: Annotated[str, attribute("type", BACKENDS)]
    source: Annotated[ChardevSource | None, child("source", ChardevSource)] = None
    second: Annotated[ChardevSource | None, again("source", ChardevSource)] = None
    protocol: Annotated[str | None, lone("protocol", "type", one_of("raw", "telnet"))] = None
    log: Annotated[ChardevLog | None, child("log", ChardevLog, hollow="file")] = None
    boot: Annotated[int | None, lone("boot", "order", Integer(low=1, high=2**31 - 1), needed=True)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.UsbAddress | None, variant("address", "type", address.USB)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilteredUsb:
    """One kind of USB devices; what is not said may be anything."""

    usb_class: Annotated[int | None, attribute("class", Integer(high=0xFF, width=2), silent=("-1",))] = None
    vendor: Annotated[str | None, attribute("vendor", USB_ID, silent=("-1",))] = None
    product: Annotated[str | None, attribute("product", USB_ID, silent=("-1",))] = None
    version: Annotated[str | None, attribute("version", USB_VERSION, silent=("-1",))] = None
    allow: Annotated[bool, attribute("allow", YES_NO)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirfilter:
    """Which USB devices may come in."""

    devices: Annotated[tuple[FilteredUsb, ...], children("usbdev", FilteredUsb)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Smartcard:
    """A reader's card: the host's, one made of certificates, or that of who is at the other end."""

    mode: Annotated[str, attribute("mode", one_of("host", "host-certificates", "passthrough"))]
    type: Annotated[str | None, attribute("type", BACKENDS)] = None
    source: Annotated[ChardevSource | None, child("source", ChardevSource)] = None
    second: Annotated[ChardevSource | None, again("source", ChardevSource)] = None
    protocol: Annotated[str | None, lone("protocol", "type", one_of("raw", "telnet"))] = None
    log: Annotated[ChardevLog | None, child("log", ChardevLog, hollow="file")] = None
    certificates: Annotated[tuple[Certificate, ...], children("certificate", Certificate)] = ()
    database: Annotated[str | None, leaf("database", PATH)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.CcidAddress | None, variant("address", "type", address.CCID)] = None


Chardev: TypeAlias = Serial | Parallel | ConsoleDevice | ChannelDevice | Redirdev | Smartcard
