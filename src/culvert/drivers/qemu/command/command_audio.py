"""``-audiodev``.

Source: qemu/qemu_command.c (qemuBuildAudioCommandLineArg and below) of libvirt 9.0; the words are QEMU's.
"""

from __future__ import annotations

from typing import Any

from culvert.domain.audio import Audio, AudioSettings, AudioSide
from culvert.drivers.qemu.command.command_syntax import given

DRIVERS = {"pulseaudio": "pa", "file": "wav"}  # where QEMU has another word

# Field of a side → property, in libvirt's order.
SIDE = {
    "mixing_engine": "mixing-engine",
    "fixed_settings": "fixed-settings",
    "voices": "voices",
    "buffer_length": "buffer-length",
}
BACKEND = {
    "dev": "dev",
    "buffer_count": "buffer-count",
    "try_poll": "try-poll",
    "name": "name",
    "stream_name": "stream-name",
    "latency": "latency",
    "server_name": "server-name",
    "client_name": "client-name",
    "connect_ports": "connect-ports",
    "exact_name": "exact-name",
}


def properties(audio: Audio) -> dict[str, Any]:
    """Of one backend."""
    return given(
        {
            "id": f"audio{audio.id}",
            "driver": DRIVERS.get(audio.type, audio.type),
            "timer-period": audio.timer_period,
            "try-mmap": audio.try_mmap,
            "exclusive": audio.exclusive,
            "dsp-policy": audio.dsp_policy,
            "server": audio.server_name,
            "path": audio.path,
            "in": _side(audio.input),
            "out": _side(audio.output),
        }
    )


def _side(side: AudioSide | None) -> dict[str, Any] | None:
    if side is None:
        return None
    settings = side.settings or AudioSettings()
    fixed = {"frequency": settings.frequency, "channels": settings.channels, "format": settings.format}
    told = {name: getattr(side, field) for field, name in SIDE.items()}
    told |= fixed if side.fixed_settings else {}
    return given({**told, **{name: getattr(side, field) for field, name in BACKEND.items()}}) or None
