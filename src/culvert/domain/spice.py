"""What a SPICE server is told besides where it listens: children of ``<graphics type='spice'>``.

Source: docs/formatdomain, "Graphical framebuffers"; conf/domain_conf.c for the order of output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain.binding import attribute
from culvert.domain.scalars import PATH, YES_NO, one_of

CHANNELS = one_of("main", "display", "inputs", "cursor", "playback", "record", "smartcard", "usbredir")
MODES = one_of("any", "secure", "insecure")
IMAGE = one_of("auto_glz", "auto_lz", "quic", "glz", "lz", "off")
WAN = one_of("auto", "never", "always")
STREAMING = one_of("filter", "all", "off")
MOUSE = one_of("server", "client")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiceChannel:
    """A channel that must be encrypted, must not be, or may be either."""

    name: Annotated[str, attribute("name", CHANNELS)]
    mode: Annotated[str, attribute("mode", MODES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gl:
    """Whether the guest draws with the host's GPU, and with which one."""

    enable: Annotated[bool | None, attribute("enable", YES_NO)] = None
    rendernode: Annotated[str | None, attribute("rendernode", PATH)] = None
