"""passt, the network of a card of type ``user`` outside of QEMU: a process of its own, joined by a pair of sockets.

It ends by itself when QEMU's end of the pair is closed, and gives root's rights up when it is started with them.
Source: qemu/qemu_passt.c of libvirt 9.0, which has a socket in the file system instead; passt(1).
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from culvert.domain.interface import ForwardRange, Interface, PortForward
from culvert.drivers.network import tool
from culvert.drivers.qemu import process
from culvert.drivers.qemu.process import Process
from culvert.io import blocking

PROGRAM = "passt"


def arguments(card: Interface, fd: int) -> list[str]:
    """What it is told; ``fd`` is its end of the pair."""
    source, backend = card.source, card.backend
    told = ["--foreground", "--fd", str(fd)]
    if card.mtu is not None:
        told += ["--mtu", str(card.mtu)]
    if source is not None and source.dev is not None:
        told += ["--interface", source.dev]
    if backend is not None and backend.log_file is not None:
        told += ["--log-file", backend.log_file]
    for ip in card.ips:
        told += ["--address", ip.address]
        if ip.prefix is not None and ip.family == "ipv4":
            told += ["--netmask", str(ip.prefix)]
    for forward in card.port_forwards:
        told += [f"--{forward.proto}-ports", _forward(forward)]
    return told


def _forward(forward: PortForward) -> str:
    """Which ports of the host lead to which of the guest."""
    where = ""
    if forward.address is not None:
        where = forward.address + (f"%{forward.dev}" if forward.dev is not None else "") + "/"
    return where + (",".join(map(_range, forward.ranges)) or "all")


def _range(one: ForwardRange) -> str:
    text = ("~" if one.exclude else "") + str(one.start) + (f"-{one.end}" if one.end is not None else "")
    if one.to is not None:
        text += f":{one.to}" + (f"-{one.end + one.to - one.start}" if one.end is not None else "")
    return text


async def start(name: str, card: Interface, log_file: Path) -> tuple[Process, int]:
    """A passt for ``card`` of the domain ``name``, and QEMU's end of the pair, which is the caller's to close.

    What it says goes into ``log_file``. Raises ``errors.SystemCallError`` when there is none, or it does not start.
    """
    path = await blocking.to_its_end(lambda: tool.find(PROGRAM))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with theirs:
        try:
            argv = [path, *arguments(card, theirs.fileno())]
            started = await process.launch(
                name, argv, log_file=log_file, folder=Path(os.sep), pass_fds=(theirs.fileno(),)
            )
        except BaseException:
            ours.close()
            raise
    return started, ours.detach()
