"""``-audiodev``, ``-vnc`` and ``-spice``.

Source: qemu/qemu_command.c (qemuBuildGraphicsVNCCommandLine, qemuBuildGraphicsSPICECommandLine) of libvirt 9.0.
"""

from __future__ import annotations

from collections.abc import Iterator

from culvert.domain.definition import DomainDef
from culvert.domain.display import Graphics
from culvert.domain.spice import Gl
from culvert.drivers.qemu.command import command_audio
from culvert.drivers.qemu.command.command_syntax import comma, on_off, option
from culvert.ground import errors

FIRST_VNC_PORT = 5900  # display 0


def graphics(definition: DomainDef, directory: str | None, certificates: str | None = None) -> list[str]:
    """``directory``: where sockets without a path are made; ``certificates``: the folder of a SPICE server's.

    Raises ``errors.InternalError`` for a server whose port is not resolved, ``errors.ConfigUnsupported`` for
    encryption without certificates.
    """
    argv: list[str] = []
    devices = definition.devices
    for audio in devices.audios:
        argv += option("-audiodev", command_audio.properties(audio))
    for one in devices.graphics:
        number = one.audio.id if one.audio else devices.audios[0].id if devices.audios else None
        sound = "" if number is None else f",audiodev=audio{number}"
        match one.type:
            case "spice":
                argv += ["-spice", ",".join(_spice(one, directory, certificates))]
            case "vnc":
                argv += ["-vnc", f"{_vnc(one, directory)}{sound}"]
            case _:
                argv += ["-full-screen"] if one.fullscreen else []
                argv += ["-display", ",".join(_window(one))]
        if one.keymap:
            argv += ["-k", one.keymap]
    return argv


def environment(definition: DomainDef) -> dict[str, str]:
    """What a QEMU that opens a window, or plays by SDL, finds in its environment."""
    told: dict[str, str] = {}
    for one in definition.devices.graphics:
        if one.type == "sdl":
            told |= {"DISPLAY": one.display or "", "XAUTHORITY": one.xauth or ""}
    for audio in definition.devices.audios:
        if audio.driver:
            told["SDL_AUDIODRIVER"] = audio.driver
    return {name: value for name, value in told.items() if value}


def _window(one: Graphics) -> Iterator[str]:
    gl = one.gl or Gl()
    yield one.type
    if one.type == "dbus":
        yield "p2p=on" if one.p2p else f"addr={comma(one.bus_address or '')}"
    if gl.enable is not None:
        yield f"gl={on_off(gl.enable)}"
    if gl.rendernode is not None:
        yield f"rendernode={comma(gl.rendernode)}"
    if one.audio is not None:
        yield f"audiodev=audio{one.audio.id}"


def _socket(one: Graphics, directory: str | None) -> str:
    path = one.listens[0].socket
    if path is None and directory is None:
        raise errors.InternalError(f"internal error: the {one.type} server has no socket path")
    return comma(path or f"{directory}/{one.type}.sock")


def _vnc(one: Graphics, directory: str | None) -> str:
    password = ",password=on" if one.passwd is not None else ""
    share = f",share={one.share_policy}" if one.share_policy else ""
    power = "" if one.power_control is None else f",power-control={on_off(one.power_control)}"
    told = f"{share}{password}{power}"
    if one.kind == "none":
        return f"none{told}"
    if one.kind == "socket":
        return f"vnc=unix:{_socket(one, directory)}{told}"
    if one.port is None or one.port < 0:
        raise errors.InternalError("internal error: the VNC server has no port")
    if one.port < FIRST_VNC_PORT:
        raise errors.ConfigUnsupported(f"unsupported configuration: VNC port must be {FIRST_VNC_PORT} or above")
    host = one.address or "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    web = "" if one.websocket is None else f",websocket={one.websocket}"
    return f"{comma(host)}:{one.port - FIRST_VNC_PORT}{web}{told}"


def _spice(one: Graphics, directory: str | None, certificates: str | None) -> Iterator[str]:
    secure = one.kind not in ("none", "socket") and one.tls_port is not None and one.tls_port > 0
    plain = secure is False or (one.port is not None and one.port > 0)
    if one.kind == "none":
        yield "port=0"
    elif one.kind == "socket":
        yield from ("unix", f"addr={_socket(one, directory)}")
    elif not secure and (one.port is None or one.port < 0):
        raise errors.InternalError("internal error: the SPICE server has no port")
    else:
        yield from (f"port={one.port}",) if one.port and one.port > 0 else ()
        yield from (f"tls-port={one.tls_port}",) if secure else ()
        yield f"addr={comma(one.address or '127.0.0.1')}"
    if one.mouse is not None:
        yield f"agent-mouse={on_off(one.mouse == 'client')}"
    if one.passwd is None:
        yield "disable-ticketing=on"
    if secure:
        if certificates is None:
            raise errors.ConfigUnsupported(
                "unsupported configuration: spice TLS port set in XML configuration, but TLS is disabled here"
                " (spice_tls in culvertd.toml)"
            )
        yield f"x509-dir={comma(certificates)}"
    yield from _modes(one, secure=secure, plain=plain)
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
    if one.gl is not None and one.gl.enable:
        yield "gl=on"
        yield from (f"rendernode={comma(one.gl.rendernode)}",) if one.gl.rendernode else ()
    yield "seamless-migration=on"


def _modes(one: Graphics, *, secure: bool, plain: bool) -> Iterator[str]:
    """Which channels must be encrypted, and which must not."""
    modes = [("default", one.default_mode), *((channel.name, channel.mode) for channel in one.channels)]
    for name, mode in modes:
        what = "defaultMode" if name == "default" else "channel"
        if mode == "secure":
            if not secure:
                raise errors.ConfigUnsupported(
                    f"unsupported configuration: spice {what} secure requested in XML configuration, but TLS"
                    " connection is not available"
                )
            yield f"tls-channel={name}"
        elif mode == "insecure":
            if not plain:
                raise errors.ConfigUnsupported(
                    f"unsupported configuration: spice {what} insecure requested in XML configuration, but plaintext"
                    " connection is not available"
                )
            yield f"plaintext-channel={name}"
