"""What a person sees and touches: ``<graphics>``, ``<video>``, ``<input>``, ``<audio>``.

Source: docs/formatdomain, "Graphical framebuffers", "Video devices", "Input devices", "Audio backends".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from culvert.domain import address
from culvert.domain.binding import BLANK, DEFAULT, attribute, child, children, lone, variant
from culvert.domain.scalars import ANY_TEXT, TOKEN, UINT, YES_OR_NOT, Integer, Pattern, one_of

DEVICES = {True: "virtio-vga", False: "virtio-gpu"}  # by "is it the primary card?"
PASSWORD_MAX = 8  # characters of a VNC password that count (RFC 6143, 7.2.2)
LISTEN_ADDRESS = Pattern(r"[^\s,=]+", "listen address")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the server listens; ``type='none'``: nowhere."""

    type: Annotated[str, attribute("type", one_of("address", "none"))]
    address: Annotated[str | None, attribute("address", LISTEN_ADDRESS, silent=BLANK)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphics:
    """A VNC server. ``port`` -1 with ``autoport``: chosen at start, from 5900 on."""

    type: Annotated[str, attribute("type", one_of("vnc"))]
    port: Annotated[int | None, attribute("port", Integer(low=-1, high=65535))] = None
    autoport: Annotated[bool | None, attribute("autoport", YES_OR_NOT)] = None
    listen: Annotated[str | None, attribute("listen", LISTEN_ADDRESS, silent=BLANK)] = None
    keymap: Annotated[str | None, attribute("keymap", TOKEN, silent=BLANK)] = None
    share_policy: Annotated[
        str | None, attribute("sharePolicy", one_of("ignore", "force-shared", "allow-exclusive"), silent=DEFAULT)
    ] = None
    passwd: Annotated[str | None, attribute("passwd", ANY_TEXT)] = None
    listens: Annotated[tuple[Listen, ...], children("listen", Listen)] = ()

    @property
    def address(self) -> str | None:
        """The address to listen on, wherever it was written; None: the host's default."""
        return next((one.address for one in self.listens if one.address), None) or self.listen


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoModel:
    """The card; ``vram`` in KiB. ``device``: what libvirt 12 says of a virtio card that it would be anyway."""

    type: Annotated[
        str, attribute("type", one_of("vga", "cirrus", "virtio", "bochs", "none"), silent=("", "default"))
    ] = "cirrus"
    vram: Annotated[int | None, attribute("vram", UINT, silent=BLANK)] = None
    heads: Annotated[int | None, attribute("heads", Integer(low=1, high=16), silent=BLANK)] = None
    primary: Annotated[bool | None, attribute("primary", YES_OR_NOT)] = None
    device: Annotated[str | None, attribute("device", one_of(*DEVICES.values()), silent=BLANK)] = None
    """What a virtio card is in QEMU's words (libvirt since 12.5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """``<video>``."""

    model: Annotated[VideoModel, child("model", VideoModel)] = field(default_factory=VideoModel)
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.PciAddress | None, variant("address", "type", address.PCI)] = None


def virtio_device(model: VideoModel, *, primary: bool) -> str | None:
    """What a virtio card is where nobody says, and what is said; ``None`` for another card."""
    return (model.device or DEVICES[primary]) if model.type == "virtio" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A mouse, tablet or keyboard; ``bus`` None: usb for a tablet, else ps2."""

    type: Annotated[str, attribute("type", one_of("mouse", "tablet", "keyboard"))]
    bus: Annotated[str | None, attribute("bus", one_of("ps2", "usb", "virtio"))] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.PciAddress | address.UsbAddress | None, variant("address", "type", address.INPUT)] = (
        None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """The audio backend: none."""

    id: Annotated[int, attribute("id", Integer(low=1, high=255))]
    type: Annotated[str, attribute("type", one_of("none"))]
