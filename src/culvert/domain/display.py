"""What a person sees and touches: ``<graphics>``, ``<video>``, ``<input>``, ``<sound>``.

Source: docs/formatdomain, "Graphical framebuffers", "Video devices", "Input devices", "Audio backends".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

from culvert.domain import address, spice, virtio
from culvert.domain.audio import AudioChoice
from culvert.domain.binding import BLANK, DEFAULT, attribute, child, children, lone, variant
from culvert.domain.scalars import (
    ANY_TEXT,
    ON_OFF,
    PATH,
    TEXT,
    TOKEN,
    UINT,
    YES_NO,
    YES_OR_NOT,
    Integer,
    Pattern,
    one_of,
)

DEVICES = {True: "virtio-vga", False: "virtio-gpu"}  # by "is it the primary card?"
PASSWORD_MAX = 8  # characters of a VNC password that count (RFC 6143, 7.2.2)
VALID_TO = Pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}", "time (2011-05-31T16:11:22)")
GRAB_KEYS = one_of("ctrl-ctrl", "alt-alt", "shift-shift", "meta-meta", "scrolllock", "ctrl-scrolllock")
CONNECTED = one_of("fail", "disconnect", "keep")
LISTEN_ADDRESS = Pattern(r"[^\s,=]+", "listen address")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the server listens; ``type='none'``: nowhere; ``socket`` None: one below the daemon's folder."""

    type: Annotated[str, attribute("type", one_of("address", "network", "socket", "none"))]
    address: Annotated[str | None, attribute("address", LISTEN_ADDRESS, silent=BLANK)] = None
    network: Annotated[str | None, attribute("network", TEXT, silent=BLANK)] = None
    socket: Annotated[str | None, attribute("socket", PATH, silent=BLANK)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphics:
    """A VNC or SPICE server, or a screen of another kind: a window on the host, none to draw in, the host's D-Bus.

    ``port`` -1 with ``autoport``: chosen at start, from 5900 on. ``websocket`` -1: the port that goes with the
    display. ``socket`` repeats the path of the listen element, for clients of old.
    """

    type: Annotated[str, attribute("type", one_of("vnc", "spice", "sdl", "egl-headless", "dbus"))]
    socket: Annotated[str | None, attribute("socket", PATH, silent=BLANK)] = None
    port: Annotated[int | None, attribute("port", Integer(low=-1, high=65535))] = None
    tls_port: Annotated[int | None, attribute("tlsPort", Integer(low=-1, high=65535), silent=("0", ""))] = None
    autoport: Annotated[bool | None, attribute("autoport", YES_OR_NOT)] = None
    websocket: Annotated[int | None, attribute("websocket", Integer(low=-1, high=65535), silent=BLANK)] = None
    listen: Annotated[str | None, attribute("listen", LISTEN_ADDRESS, silent=BLANK)] = None
    keymap: Annotated[str | None, attribute("keymap", TOKEN, silent=BLANK)] = None
    share_policy: Annotated[
        str | None, attribute("sharePolicy", one_of("ignore", "force-shared", "allow-exclusive"), silent=DEFAULT)
    ] = None
    power_control: Annotated[bool | None, attribute("powerControl", YES_NO)] = None
    default_mode: Annotated[str | None, attribute("defaultMode", spice.MODES, silent=("any",))] = None
    passwd: Annotated[str | None, attribute("passwd", ANY_TEXT)] = None
    passwd_valid_to: Annotated[str | None, attribute("passwdValidTo", VALID_TO)] = None
    connected: Annotated[str | None, attribute("connected", CONNECTED)] = None
    display: Annotated[str | None, attribute("display", TEXT, silent=BLANK)] = None
    xauth: Annotated[str | None, attribute("xauth", TEXT, silent=BLANK)] = None
    fullscreen: Annotated[bool | None, attribute("fullscreen", YES_NO, silent=("no",))] = None
    p2p: Annotated[bool | None, attribute("p2p", YES_NO, silent=("no",))] = None
    bus_address: Annotated[str | None, attribute("address", TEXT, silent=BLANK)] = None
    listens: Annotated[tuple[Listen, ...], children("listen", Listen)] = ()
    channels: Annotated[tuple[spice.SpiceChannel, ...], children("channel", spice.SpiceChannel)] = ()
    image: Annotated[str | None, lone("image", "compression", spice.IMAGE, needed=True)] = None
    jpeg: Annotated[str | None, lone("jpeg", "compression", spice.WAN, needed=True)] = None
    zlib: Annotated[str | None, lone("zlib", "compression", spice.WAN, needed=True)] = None
    playback: Annotated[bool | None, lone("playback", "compression", ON_OFF, needed=True)] = None
    streaming: Annotated[str | None, lone("streaming", "mode", spice.STREAMING, needed=True)] = None
    mouse: Annotated[str | None, lone("mouse", "mode", spice.MOUSE, needed=True)] = None
    clipboard: Annotated[bool | None, lone("clipboard", "copypaste", YES_NO, needed=True)] = None
    filetransfer: Annotated[bool | None, lone("filetransfer", "enable", YES_NO, needed=True)] = None
    gl: Annotated[spice.Gl | None, child("gl", spice.Gl)] = None
    audio: Annotated[AudioChoice | None, child("audio", AudioChoice)] = None

    @property
    def is_spice(self) -> bool:
        return self.type == "spice"

    @property
    def is_server(self) -> bool:
        """Somebody can connect to it from elsewhere."""
        return self.type in ("vnc", "spice")

    @property
    def passwd_ends(self) -> int | None:
        """When the password ends to be valid, in seconds of the epoch; None: never. Raises ``ValueError`` for what
        is no time of any day."""
        if self.passwd_valid_to is None:
            return None
        return int(datetime.fromisoformat(self.passwd_valid_to).replace(tzinfo=UTC).timestamp())

    @property
    def kind(self) -> str:
        """How it listens: nowhere where one element says so, else as the first one says."""
        types = [one.type for one in self.listens]
        return "none" if "none" in types else types[0] if types else "address"

    @property
    def address(self) -> str | None:
        """The address to listen on, wherever it was written; None: the host's default."""
        return next((one.address for one in self.listens if one.address), None) or self.listen


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceleration:
    """Whether the host's GPU draws for the guest, and which one."""

    accel2d: Annotated[bool | None, attribute("accel2d", YES_NO)] = None
    accel3d: Annotated[bool | None, attribute("accel3d", YES_NO)] = None
    rendernode: Annotated[str | None, attribute("rendernode", PATH)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Points."""

    x: Annotated[int, attribute("x", UINT)]
    y: Annotated[int, attribute("y", UINT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoDriver:
    """Who draws: QEMU or a program of its own; and what a virtio card is told."""

    iommu: Annotated[bool | None, attribute("iommu", ON_OFF)] = None
    ats: Annotated[bool | None, attribute("ats", ON_OFF)] = None
    packed: Annotated[bool | None, attribute("packed", ON_OFF)] = None
    page_per_vq: Annotated[bool | None, attribute("page_per_vq", ON_OFF)] = None
    vgaconf: Annotated[str | None, attribute("vgaconf", one_of("io", "on", "off"))] = None
    name: Annotated[str | None, attribute("name", one_of("qemu", "vhostuser"), silent=DEFAULT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoModel:
    """The card; ``vram`` in KiB, as ``ram``, ``vram64`` and ``vgamem`` of a qxl. ``device``: what libvirt 12 says of
    a virtio card that it would be anyway."""

    type: Annotated[
        str,
        attribute("type", one_of("vga", "cirrus", "virtio", "bochs", "qxl", "ramfb", "none"), silent=("", "default")),
    ] = "cirrus"
    ram: Annotated[int | None, attribute("ram", UINT, silent=BLANK)] = None
    vram: Annotated[int | None, attribute("vram", UINT, silent=BLANK)] = None
    vram64: Annotated[int | None, attribute("vram64", UINT, silent=BLANK)] = None
    vgamem: Annotated[int | None, attribute("vgamem", UINT, silent=BLANK)] = None
    heads: Annotated[int | None, attribute("heads", Integer(low=1, high=16), silent=BLANK)] = None
    primary: Annotated[bool | None, attribute("primary", YES_OR_NOT)] = None
    device: Annotated[str | None, attribute("device", one_of(*DEVICES.values()), silent=BLANK)] = None
    """What a virtio card is in QEMU's words (libvirt since 12.5)."""
    blob: Annotated[bool | None, attribute("blob", ON_OFF)] = None
    acceleration: Annotated[Acceleration | None, child("acceleration", Acceleration)] = None
    resolution: Annotated[Resolution | None, child("resolution", Resolution)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """``<video>``."""

    driver: Annotated[VideoDriver | None, child("driver", VideoDriver, hollow="*")] = None
    model: Annotated[VideoModel, child("model", VideoModel)] = field(default_factory=VideoModel)
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.PciAddress | None, variant("address", "type", address.PCI)] = None


def virtio_device(model: VideoModel, *, primary: bool) -> str | None:
    """What a virtio card is where nobody says, and what is said; ``None`` for another card."""
    return (model.device or DEVICES[primary]) if model.type == "virtio" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSource:
    """A device of the host: ``evdev`` of one that is passed through, ``dev`` of one that QEMU reads."""

    dev: Annotated[str | None, attribute("dev", PATH)] = None
    evdev: Annotated[str | None, attribute("evdev", PATH)] = None
    grab: Annotated[str | None, attribute("grab", one_of("all"))] = None
    grab_toggle: Annotated[str | None, attribute("grabToggle", GRAB_KEYS)] = None
    repeat: Annotated[bool | None, attribute("repeat", ON_OFF)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A mouse, tablet or keyboard, or one of the host's; ``bus`` None: usb for a tablet, else ps2."""

    type: Annotated[str, attribute("type", one_of("mouse", "tablet", "keyboard", "passthrough", "evdev"))]
    bus: Annotated[str | None, attribute("bus", one_of("ps2", "usb", "virtio"))] = None
    model: Annotated[str | None, attribute("model", virtio.MODELS)] = None
    driver: Annotated[virtio.VirtioDriver | None, child("driver", virtio.VirtioDriver, hollow="*")] = None
    source: Annotated[InputSource | None, child("source", InputSource)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.PciAddress | address.UsbAddress | None, variant("address", "type", address.INPUT)] = (
        None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HdaCodec:
    """What is behind an HDA controller."""

    type: Annotated[str, attribute("type", one_of("duplex", "micro", "output"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A sound card."""

    model: Annotated[str, attribute("model", one_of("ich6", "ich9", "ac97", "es1370", "sb16", "usb", "pcspk"))]
    codecs: Annotated[tuple[HdaCodec, ...], children("codec", HdaCodec)] = ()
    audio: Annotated[AudioChoice | None, child("audio", AudioChoice)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.PciAddress | address.UsbAddress | None, variant("address", "type", address.INPUT)] = (
        None
    )

    @property
    def is_usb(self) -> bool:
        return self.model == "usb"
