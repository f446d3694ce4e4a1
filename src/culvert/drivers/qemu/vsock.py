"""The kernel's end of a guest's sockets to this host (vhost-vsock), with a number for the guest.

Every function asks the kernel: call it in a thread. Source: linux/vhost.h; util/virvsock.c of libvirt 9.0.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from dataclasses import replace

from culvert.domain.bus_device import Cid
from culvert.domain.definition import DomainDef
from culvert.ground import errors

DEVICE = "/dev/vhost-vsock"
SET_GUEST_CID = 0x4008AF60  # VHOST_VSOCK_SET_GUEST_CID
FIRST = 3  # below are the kernel's own
MOST = 1000  # numbers that are tried: there are never so many guests


def open_for(definition: DomainDef, device: str = DEVICE) -> tuple[int, DomainDef]:
    """The descriptor, and ``definition`` with the number that it has.

    Raises ``errors.SystemCallError`` where the kernel has no such sockets, or the number is another guest's.
    """
    vsock = definition.devices.vsock
    assert vsock is not None
    cid = vsock.cid or Cid(auto=True)
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as err:
        raise errors.SystemCallError(
            f"/domain/devices/vsock: unable to open vhost-vsock device '{device}': {err.strerror}", errno=err.errno
        ) from err
    try:
        number = _taken(fd, cid)
    except OSError as err:
        os.close(fd)
        raise errors.SystemCallError(
            f"/domain/devices/vsock: failed to set guest cid: {err.strerror}", errno=err.errno
        ) from err
    told = replace(vsock, cid=replace(cid, address=number))
    return fd, replace(definition, devices=replace(definition.devices, vsock=told))


def _taken(fd: int, cid: Cid) -> int:
    if not cid.auto and cid.address is not None:
        fcntl.ioctl(fd, SET_GUEST_CID, struct.pack("Q", cid.address))
        return cid.address
    for number in range(FIRST, FIRST + MOST):
        try:
            fcntl.ioctl(fd, SET_GUEST_CID, struct.pack("Q", number))
        except OSError as err:
            if err.errno != errno.EADDRINUSE:
                raise
        else:
            return number
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
