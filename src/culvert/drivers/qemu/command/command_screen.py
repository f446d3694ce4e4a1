"""``-audiodev``, ``-vnc`` and ``-spice``.

Source: qemu/qemu_command.c (qemuBuildGraphicsVNCCommandLine, qemuBuildGraphicsSPICECommandLine) of libvirt 9.0.
"""

from __future__ import annotations

from collections.abc import Iterator

from culvert.domain.definition import DomainDef
from culvert.domain.display import Graphics
from culvert.drivers.qemu.command.command_syntax import comma, on_off, option
from culvert.ground import errors

FIRST_VNC_PORT = 5900  # display 0


def graphics(definition: DomainDef, directory: str | None) -> list[str]:
    """``directory``: where sockets without a path are made.

    Raises ``errors.InternalError`` for a server whose port is not resolved.
    """
    argv: list[str] = []
    devices = definition.devices
    for audio in devices.audios:
        argv += option("-audiodev", {"id": f"audio{audio.id}", "driver": audio.type})
    for one in devices.graphics:
        if one.is_spice:
            argv += ["-spice", ",".join(_spice(one, directory))]
        else:
            sound = f",audiodev=audio{devices.audios[0].id}" if devices.audios else ""
            argv += ["-vnc", f"{_vnc(one, directory)}{sound}"]
        if one.keymap:
            argv += ["-k", one.keymap]
    return argv


def _socket(one: Graphics, directory: str | None) -> str:
    path = one.listens[0].socket
    if path is None and directory is None:
        raise errors.InternalError(f"internal error: the {one.type} server has no socket path")
    return comma(path or f"{directory}/{one.type}.sock")


def _vnc(one: Graphics, directory: str | None) -> str:
    if one.kind == "none":
        return "none"
    password = ",password=on" if one.passwd is not None else ""
    share = f",share={one.share_policy}" if one.share_policy else ""
    if one.kind == "socket":
        return f"vnc=unix:{_socket(one, directory)}{password}{share}"
    if one.port is None or one.port < 0:
        raise errors.InternalError("internal error: the VNC server has no port")
    if one.port < FIRST_VNC_PORT:
        raise errors.ConfigUnsupported(f"unsupported configuration: VNC port must be {FIRST_VNC_PORT} or above")
    host = one.address or "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    web = "" if one.websocket is None else f",websocket={one.websocket}"
    return f"{comma(host)}:{one.port - FIRST_VNC_PORT}{web}{password}{share}"


def _spice(one: Graphics, directory: str | None) -> Iterator[str]:
    if one.kind == "none":
        yield "port=0"
    elif one.kind == "socket":
        yield from ("unix", f"addr={_socket(one, directory)}")
    elif one.port is None or one.port < 0:
        raise errors.InternalError("internal error: the SPICE server has no port")
    else:
        yield from (f"port={one.port}", f"addr={comma(one.address or '127.0.0.1')}")
    if one.mouse is not None:
        yield f"agent-mouse={on_off(one.mouse == 'client')}"
    if one.passwd is None:
        yield "disable-ticketing=on"
    if one.default_mode == "insecure":
        yield "plaintext-channel=default"
    for channel in one.channels:
        if channel.mode == "insecure":
            yield f"plaintext-channel={channel.name}"
    for name, value in (
        ("image-compression", one.image),
        ("jpeg-wan-compression", one.jpeg),
        ("zlib-glz-wan-compression", one.zlib),
        ("playback-compression", None if one.playback is None else on_off(one.playback)),
        ("streaming-video", one.streaming),
        ("disable-copy-paste", "on" if one.clipboard is False else None),
        ("disable-agent-file-xfer", "on" if one.filetransfer is False else None),
    ):
        if value is not None:
            yield f"{name}={value}"
    yield "seamless-migration=on"
