"""Run a command on a host that has no userfaultfd: ``python -m tests.support.no_userfaultfd COMMAND ARGUMENT…``.

A filter on system calls answers that one with EPERM, for the command and for all that it starts, as a kernel does
whose vm.unprivileged_userfaultfd is 0 to a user without CAP_SYS_PTRACE (userfaultfd(2); seccomp(2),
SECCOMP_SET_MODE_FILTER). So it does what is asked of /dev/userfaultfd, which QEMU 8.0 and later try first.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_NUMBERS = {"x86_64": 323, "aarch64": 282}  # of userfaultfd (asm/unistd.h)
_IOCTL = {"x86_64": 16, "aarch64": 29}
_NEW = 0xAA00  # USERFAULTFD_IOC_NEW (linux/userfaultfd.h)
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


class _Program(ctypes.Structure):
    """struct sock_fprog (linux/filter.h)."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def forbid() -> None:
    """From now on userfaultfd is refused to this process and its children. Raises ``OSError``."""
    rules = [
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        (_EQUALS, 3, 0, _NUMBERS[platform.machine()]),
        (_EQUALS, 0, 3, _IOCTL[platform.machine()]),
        (_LOAD, 0, 0, 24),  # seccomp_data.args[1], its lower half
        (_EQUALS, 0, 1, _NEW),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    program = _Program(len(rules), b"".join(struct.pack("=HBBI", *rule) for rule in rules))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    forbid()
    os.execvp(sys.argv[1], sys.argv[1:])
