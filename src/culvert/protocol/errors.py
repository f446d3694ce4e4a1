"""Exceptions to wire errors and back.

A refusal travels as ``virNetMessageError``; a libvirt client prints ``message`` and decides by ``code`` and
``domain``. What real servers put into the other fields is repeated here, because clients pass all of them on to
their users: the level is always 2, ``str1`` is the format and ``str2`` what goes into it, ``int1`` is the errno where
there is one.
"""

from __future__ import annotations

from culvert.ground import errors
from culvert.ground.units import KiB
from culvert.protocol import types

LEVEL_ERROR = 2  # VIR_ERR_ERROR
MESSAGE_MAX = 16 * KiB  # characters; a text that repeats what the client sent could outgrow the protocol's strings

#: A bug of ours must not be told as success: code 0 (VIR_ERR_OK) in an error reply confuses every client.
_FALLBACK_CODE = int(errors.ErrorCode.INTERNAL_ERROR)

UNKNOWN_PROCEDURE = "unknown procedure"
"""How the text of a refusal begins that clients turn into "not supported" (rpc/virnetclientprogram.c)."""


def to_wire(error: errors.RequestError) -> types.Error:
    """The wire form of ``error``; a ``RemoteError`` keeps the code and the domain of the daemon that raised it."""
    code, domain, message = errors.triple(error)
    if len(message) > MESSAGE_MAX:
        message = f"{message[:MESSAGE_MAX]}… ({len(message)} characters)"
    return types.Error(
        code=code or _FALLBACK_CODE,
        domain=domain,
        message=message,
        level=LEVEL_ERROR,
        dom=None,
        str1="%s",
        str2=message,
        str3=None,
        int1=-1 if error.errno is None else error.errno,
        int2=-1,
        net=None,
    )


def from_wire(error: types.Error) -> errors.RemoteError:
    """The exception for an error that a peer sent.

    A peer that sends no text gets one made of its numbers, so that no error is ever shown empty.
    """
    text = error.message or error.str2 or error.str1 or f"error {error.code} of domain {error.domain} without a text"
    return errors.RemoteError(
        text, code=error.code, domain=error.domain, errno=error.int1 if error.int1 > 0 else None
    )


def is_unsupported(error: errors.RequestError) -> bool:
    """Whether ``error`` says that the peer does not know the procedure or the program at all.

    Servers answer code RPC with a text that begins "unknown procedure" or "Cannot find program"; clients of libvirt
    make NO_SUPPORT of the first.
    """
    code, _, message = errors.triple(error)
    if code == errors.ErrorCode.RPC:
        return message.startswith((UNKNOWN_PROCEDURE, "Cannot find program"))
    return code == errors.ErrorCode.NO_SUPPORT
