"""Keys pressed in a guest: the codes clients send, and QEMU's own (QKeyCode numbers, "qnum").

qnum is the first scan code set of the PC keyboard, with 0x80 added for keys whose code has the prefix 0xe0. Linux
numbers the keys of the old PC keyboard alike (input-event-codes.h); the rest is in ``_LINUX``.
"""

from __future__ import annotations

from collections.abc import Sequence

from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors

LINUX, QNUM = 0, 9  # VIR_KEYCODE_SET_*: those that are understood
MOST = 16  # VIR_DOMAIN_SEND_KEY_MAX_KEYS
SAME = range(1, 84)  # KEY_ESC … KEY_KPDOT

_LINUX = {
    86: 86,  # KEY_102ND
    87: 87,  # KEY_F11
    88: 88,  # KEY_F12
    89: 115,  # KEY_RO
    92: 121,  # KEY_HENKAN
    93: 112,  # KEY_KATAKANAHIRAGANA
    94: 123,  # KEY_MUHENKAN
    96: 156,  # KEY_KPENTER
    97: 157,  # KEY_RIGHTCTRL
    98: 181,  # KEY_KPSLASH
    99: 84,  # KEY_SYSRQ
    100: 184,  # KEY_RIGHTALT
    102: 199,  # KEY_HOME
    103: 200,  # KEY_UP
    104: 201,  # KEY_PAGEUP
    105: 203,  # KEY_LEFT
    106: 205,  # KEY_RIGHT
    107: 207,  # KEY_END
    108: 208,  # KEY_DOWN
    109: 209,  # KEY_PAGEDOWN
    110: 210,  # KEY_INSERT
    111: 211,  # KEY_DELETE
    113: 160,  # KEY_MUTE
    114: 174,  # KEY_VOLUMEDOWN
    115: 176,  # KEY_VOLUMEUP
    116: 222,  # KEY_POWER
    117: 89,  # KEY_KPEQUAL
    119: 198,  # KEY_PAUSE
    121: 126,  # KEY_KPCOMMA
    124: 125,  # KEY_YEN
    125: 219,  # KEY_LEFTMETA
    126: 220,  # KEY_RIGHTMETA
    127: 221,  # KEY_COMPOSE
    142: 223,  # KEY_SLEEP
    143: 227,  # KEY_WAKEUP
    163: 153,  # KEY_NEXTSONG
    164: 162,  # KEY_PLAYPAUSE
    165: 144,  # KEY_PREVIOUSSONG
    166: 164,  # KEY_STOPCD
}


def qnum(codeset: int, code: int) -> int:
    """QEMU's number of a key. Raises ``errors.InvalidArgument``, ``errors.ArgumentUnsupported``."""
    if codeset not in (LINUX, QNUM):
        raise errors.ArgumentUnsupported(f"key code set {codeset} is not supported: linux and qnum are")
    same = range(1, 256) if codeset == QNUM else SAME
    found = code if code in same else _LINUX.get(code) if codeset == LINUX else None
    if found is not None:
        return found
    raise errors.InvalidArgument(f"invalid argument: cannot translate keycode {code} of codeset {codeset}")


async def send(domain: Domain, codeset: int, codes: Sequence[int], hold_ms: int) -> None:
    """Press these keys together and let them go after ``hold_ms`` milliseconds (0: QEMU's own 100)."""
    if not 0 < len(codes) <= MOST:
        raise errors.InvalidArgument(f"invalid argument: between 1 and {MOST} keys can be pressed at once")
    keys = [{"type": "number", "data": qnum(codeset, code)} for code in codes]
    async with domain.changing("send keys to", during_job=True):
        arguments = {"keys": keys, **({"hold-time": hold_ms} if hold_ms else {})}
        await domain.monitor.execute("send-key", arguments)
