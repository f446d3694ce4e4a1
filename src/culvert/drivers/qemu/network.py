"""Tap devices on a bridge of the host, made for a guest's network card and handed to QEMU as descriptors.

The device belongs to its descriptors (it is not persistent): when QEMU ends, it is gone.
Source: Linux Documentation/networking/tuntap.rst; netdevice(7) for the ioctls.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from culvert.drivers.network import device
from culvert.ground import errors
from culvert.io import blocking

T = TypeVar("T")

TUN_DEVICE = "/dev/net/tun"

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
SIOCSIFMTU, SIOCSIFHWADDR, SIOCGIFINDEX = 0x8922, 0x8924, 0x8933
SIOCBRADDIF = 0x89A2
IFF_UP = 0x1
ARPHRD_ETHER = 1
SENT = 8  # of /proc/net/dev's numbers, the first of what the host has sent

NAME_LIMIT = 15  # IFNAMSIZ without the final NUL
GENERATED = "vnet"  # VIR_NET_GENERATED_VNET_PREFIX
ANY_NAME = f"{GENERATED}%d"  # the kernel puts the first free number


@dataclass(frozen=True, slots=True)
class Tap:
    """An open tap device; ``fds``, one for each queue, are the caller's to close, and with the last copy of the last
    one the device goes."""

    name: str
    fds: tuple[int, ...]

    @property
    def fd(self) -> int:
        """Of its first queue."""
        return self.fds[0]

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


async def open_tap(name: str | None, *, mac: str, bridge: str | None, mtu: int | None = None, queues: int = 1) -> Tap:
    """Make a tap device, attach it to ``bridge`` if one is named, and switch it on.

    In a thread: each step waits for the kernel's one lock of network settings (rtnl), which whoever adds or removes
    devices at the same time may hold for seconds. After a cancellation the device is gone.

    ``mac`` is the guest's address; the host's end gets the same with a first byte of fe, so that the bridge never
    takes it for its own (as libvirt does). ``mtu``: else the bridge's. Raises ``errors.SystemCallError`` naming the
    device and the step.
    """
    return await blocking.made(lambda: _open_tap(name, mac, bridge, mtu, queues), undo=Tap.close)


def _open_tap(name: str | None, mac: str, bridge: str | None, mtu: int | None, queues: int) -> Tap:
    wanted = name or ANY_NAME
    if len(wanted.encode()) > NAME_LIMIT:
        raise errors.InvalidArgument(f"network device name '{wanted}' is longer than {NAME_LIMIT} bytes")
    fds: list[int] = []
    try:
        while len(fds) < queues:
            fds.append(_try(f"open {TUN_DEVICE}", wanted, _open_tun))
            wanted = _attach_queue(fds[-1], wanted, several=queues > 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            _configure(control, wanted, mac, bridge, mtu)
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return Tap(wanted, tuple(fds))


def _open_tun() -> int:
    return os.open(TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)


def _attach_queue(fd: int, name: str, *, several: bool) -> str:
    """The name of the device, which is made with its first queue."""
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_MULTI_QUEUE if several else 0)
    request = _request(name, struct.pack("H", flags))
    answer = _try("create", name, lambda: fcntl.ioctl(fd, TUNSETIFF, request))
    return answer[:16].split(b"\0")[0].decode()


def _configure(control: socket.socket, name: str, mac: str, bridge: str | None, mtu: int | None) -> None:
    host_end = b"\xfe" + bytes.fromhex(mac.replace(":", ""))[1:]
    address = _request(name, struct.pack("H6s", ARPHRD_ETHER, host_end))
    _try("set the address of", name, lambda: fcntl.ioctl(control, SIOCSIFHWADDR, address))
    if bridge is not None and not device.exists(bridge):
        raise errors.OperationFailed(f"cannot attach network device '{name}': there is no bridge '{bridge}'")
    if mtu is None and bridge is not None:
        mtu = device.mtu(bridge)
    if mtu is not None:
        size = _request(name, struct.pack("i", mtu))
        _try("set the MTU of", name, lambda: fcntl.ioctl(control, SIOCSIFMTU, size))
    if bridge is not None:
        found = _try("find", name, lambda: fcntl.ioctl(control, SIOCGIFINDEX, _request(name)))
        index = struct.unpack_from("i", found, 16)[0]
        attach = _request(bridge, struct.pack("i", index))
        _try(f"attach to bridge '{bridge}'", name, lambda: fcntl.ioctl(control, SIOCBRADDIF, attach))
    before = _try("ask", name, lambda: fcntl.ioctl(control, SIOCGIFFLAGS, _request(name)))
    flags = struct.unpack_from("H", before, 16)[0] | IFF_UP
    _try("switch on", name, lambda: fcntl.ioctl(control, SIOCSIFFLAGS, _request(name, struct.pack("H", flags))))


def _request(name: str, payload: bytes = b"") -> bytes:
    return struct.pack("16s24s", name.encode(), payload)


def _try(step: str, name: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except OSError as err:
        raise errors.SystemCallError(
            f"cannot {step} network device '{name}': {err.strerror}", errno=err.errno
        ) from err


@dataclass(frozen=True, slots=True)
class Counters:
    """What has gone one way through a network device."""

    bytes: int
    packets: int
    errors: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the guest has received and sent."""

    received: Counters
    sent: Counters


def traffic(name: str, table: Path = Path("/proc/net/dev")) -> Traffic:
    """The counters of a tap device, as its guest sees them: what the host has sent into it, the guest has received.

    Raises ``errors.SystemCallError`` when it is not there. Reads a file: call it in a thread.
    """
    try:
        lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as err:
        raise errors.SystemCallError(
            f"cannot read the counters of network device '{name}': {err.strerror}", errno=err.errno
        ) from err
    for line in lines:
        told, _, values = line.partition(":")
        if told.strip() == name:
            numbers = [int(value) for value in values.split()]
            return Traffic(received=Counters(*numbers[SENT : SENT + 4]), sent=Counters(*numbers[:4]))
    raise errors.SystemCallError(f"cannot read the counters of network device '{name}': there is none", errno=19)
