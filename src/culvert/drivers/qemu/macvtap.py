"""Devices on top of a device of the host (macvtap), made for a guest's card and handed to QEMU as descriptors.

The kernel keeps such a device when QEMU ends: it goes with the run, and is known by its name and the card's address.
Source: util/virnetdevmacvlan.c of libvirt 9.0; ip-link(8).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct

from culvert.drivers.network import device, tool
from culvert.drivers.qemu.network import (
    IFF_MULTI_QUEUE,
    IFF_NO_PI,
    IFF_TAP,
    IFF_VNET_HDR,
    TUNSETIFF,
    Tap,
)
from culvert.ground import errors
from culvert.io import blocking

PREFIX = "macvtap"
MOST = 8192  # numbers that are tried (MACVLAN_MAX_ID)
NODE_TIMEOUT = 5.0  # seconds until the file of a new device is there
NODE_PAUSE = 0.02
EXISTS = "File exists"


async def free_name() -> str:
    """One that no device of the host has."""

    def find() -> str:
        return next(name for number in range(MOST) if not device.exists(name := f"{PREFIX}{number}"))

    return await blocking.to_its_end(find)


async def open_macvtap(name: str, *, mac: str, lower: str, mode: str, mtu: int | None, queues: int) -> Tap:
    """Make the device ``name`` on top of ``lower`` and switch it on. Nothing of it is there when this raises.

    Raises ``errors.SystemCallError`` when there is no such lower device, or its file does not come; what ``ip`` says.
    """
    if not await blocking.to_its_end(lambda: device.exists(lower)):
        raise errors.SystemCallError(f"Unable to get index for interface {lower}: No such device", errno=19)
    size = f" mtu {mtu}" if mtu is not None else ""
    await tool.run(
        "ip",
        ["-batch", "-"],
        text=f"link add link {lower} name {name} address {mac}{size} type macvtap mode {mode}\n",
    )
    try:
        await tool.run("ip", ["link", "set", "dev", name, "up"])
        return Tap(name, await _queues(name, queues))
    except BaseException:
        await remove(name, mac)
        raise


async def remove(name: str, mac: str) -> None:
    """The device goes, if it is the one of that address. Raises ``errors.InternalError``."""
    if await blocking.to_its_end(lambda: device.mac(name)) == mac:
        await tool.run("ip", ["link", "delete", "dev", name, "type", "macvtap"], must=False)


async def _queues(name: str, count: int) -> tuple[int, ...]:
    path = f"/dev/tap{socket.if_nametoindex(name)}"
    deadline = asyncio.get_running_loop().time() + NODE_TIMEOUT
    while True:
        try:
            return await blocking.made(lambda: _open(path, name, count), undo=_close)
        except OSError as err:
            if asyncio.get_running_loop().time() > deadline:
                raise errors.SystemCallError(
                    f"cannot open macvtap tap device {path}: {err.strerror}", errno=err.errno
                ) from err
        await asyncio.sleep(NODE_PAUSE)


def _open(path: str, name: str, count: int) -> tuple[int, ...]:
    fds: list[int] = []
    try:
        for _ in range(count):
            fds.append(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
            flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_MULTI_QUEUE if count > 1 else 0)
            fcntl.ioctl(fds[-1], TUNSETIFF, struct.pack("16sH22s", name.encode(), flags, b""))
    except BaseException:
        _close(tuple(fds))
        raise
    return tuple(fds)


def _close(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)
