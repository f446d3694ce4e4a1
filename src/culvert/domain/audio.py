"""``<audio>``: where the sound of the guest's cards goes on the host.

Source: docs/formatdomain, "Audio backends"; conf/domain_conf.c for which backend has what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain.binding import attribute, child
from culvert.domain.scalars import TEXT, UINT, YES_NO, Integer, one_of

BACKENDS = one_of(
    *("none", "alsa", "coreaudio", "jack", "oss", "pulseaudio", "sdl", "spice", "file", "dbus"),
)
FORMATS = one_of("s8", "u8", "s16", "u16", "s32", "u32", "f32")
SDL_DRIVERS = one_of("esd", "alsa", "arts", "pulseaudio")
SILENT_ZERO = ("0",)

# Backend → attributes of its own, and of its two sides.
OWN = {
    "oss": {"try_mmap", "exclusive", "dsp_policy"},
    "pulseaudio": {"server_name"},
    "sdl": {"driver"},
    "file": {"path"},
}
SIDES = {
    "alsa": {"dev"},
    "coreaudio": {"buffer_count"},
    "jack": {"server_name", "client_name", "connect_ports", "exact_name"},
    "oss": {"dev", "buffer_count", "try_poll"},
    "pulseaudio": {"name", "stream_name", "latency"},
    "sdl": {"buffer_count"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSettings:
    """What the host's sound is fixed to."""

    frequency: Annotated[int | None, attribute("frequency", UINT, silent=SILENT_ZERO)] = None
    channels: Annotated[int | None, attribute("channels", UINT, silent=SILENT_ZERO)] = None
    format: Annotated[str | None, attribute("format", FORMATS)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSide:
    """Recording or playing; which of the attributes there are goes by the backend (``SIDES``)."""

    mixing_engine: Annotated[bool | None, attribute("mixingEngine", YES_NO)] = None
    fixed_settings: Annotated[bool | None, attribute("fixedSettings", YES_NO)] = None
    voices: Annotated[int | None, attribute("voices", UINT, silent=SILENT_ZERO)] = None
    buffer_length: Annotated[int | None, attribute("bufferLength", UINT, silent=SILENT_ZERO)] = None
    name: Annotated[str | None, attribute("name", TEXT)] = None
    stream_name: Annotated[str | None, attribute("streamName", TEXT)] = None
    latency: Annotated[int | None, attribute("latency", UINT, silent=SILENT_ZERO)] = None
    dev: Annotated[str | None, attribute("dev", TEXT)] = None
    buffer_count: Annotated[int | None, attribute("bufferCount", UINT, silent=SILENT_ZERO)] = None
    try_poll: Annotated[bool | None, attribute("tryPoll", YES_NO)] = None
    server_name: Annotated[str | None, attribute("serverName", TEXT)] = None
    client_name: Annotated[str | None, attribute("clientName", TEXT)] = None
    connect_ports: Annotated[str | None, attribute("connectPorts", TEXT)] = None
    exact_name: Annotated[bool | None, attribute("exactName", YES_NO)] = None
    settings: Annotated[AudioSettings | None, child("settings", AudioSettings)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """One backend."""

    id: Annotated[int, attribute("id", Integer(low=1, high=255))]
    type: Annotated[str, attribute("type", BACKENDS)]
    timer_period: Annotated[int | None, attribute("timerPeriod", UINT, silent=SILENT_ZERO)] = None
    try_mmap: Annotated[bool | None, attribute("tryMMap", YES_NO)] = None
    exclusive: Annotated[bool | None, attribute("exclusive", YES_NO)] = None
    dsp_policy: Annotated[int | None, attribute("dspPolicy", Integer(low=-(2**31), high=2**31 - 1))] = None
    server_name: Annotated[str | None, attribute("serverName", TEXT)] = None
    driver: Annotated[str | None, attribute("driver", SDL_DRIVERS)] = None
    path: Annotated[str | None, attribute("path", TEXT)] = None
    input: Annotated[AudioSide | None, child("input", AudioSide, hollow="*")] = None
    output: Annotated[AudioSide | None, child("output", AudioSide, hollow="*")] = None

    @property
    def foreign(self) -> list[str]:
        """What is said and is another backend's."""
        own = {name for names in OWN.values() for name in names} - OWN.get(self.type, set())
        side = {name for names in SIDES.values() for name in names} - SIDES.get(self.type, set())
        told = [name for name in sorted(own) if getattr(self, name) is not None]
        for one in (self.input, self.output):
            told += [name for name in sorted(side) if one is not None and getattr(one, name) is not None]
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioChoice:
    """The backend by its number; the first one where nothing is said."""

    id: Annotated[int, attribute("id", Integer(low=1, high=255))]
