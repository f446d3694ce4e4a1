"""Errors on the wire: exact bytes, and every class both ways."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given

from culvert.ground import errors
from culvert.protocol import errors as wire_errors
from culvert.protocol import types
from culvert.xdr.struct import codec_of, decode, encode
from tests.protocol import examples

CLASSES = [
    *(errors.InternalError, errors.InvalidArgument, errors.OperationFailed, errors.OperationInvalid),
    *(errors.OperationTimeout, errors.OperationAborted, errors.OperationUnsupported, errors.OperationDenied),
    *(errors.ArgumentUnsupported, errors.ConfigUnsupported, errors.XMLError, errors.NoDomain, errors.DomainExists),
    *(errors.ResourceBusy, errors.AuthenticationFailed, errors.SystemCallError, errors.MigrateUnsafe),
    *(errors.MigrateFinishOk, errors.RpcError, errors.NotOpen, errors.StreamFailed, errors.InvalidStream),
    *(errors.ConnectionLost,),
]


def test_bytes() -> None:
    assert encode(wire_errors.to_wire(errors.SystemCallError("no"))) == bytes.fromhex(
        "00000026"  # code: SYSTEM_ERROR
        "0000000a"  # domain: QEMU
        "00000001 00000002 6e6f0000"  # message: present, "no"
        "00000002"  # level: error
        "00000000"  # dom: absent
        "00000001 00000002 25730000"  # str1: the format, "%s"
        "00000001 00000002 6e6f0000"  # str2: what goes into it
        "00000000"  # str3: absent
        "ffffffff"  # int1: no errno
        "ffffffff"  # int2
        "00000000"  # net: absent
    )


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("errno", [None, 32])
def test_every_class_both_ways(kind: type[errors.RequestError], errno: int | None) -> None:
    error = kind("guest 'g': no", errno=errno)
    back = wire_errors.from_wire(decode(types.Error, encode(wire_errors.to_wire(error))))
    assert errors.triple(back) == errors.triple(error)
    assert back.errno == errno


def test_a_remote_error_is_passed_on_unchanged() -> None:
    first = wire_errors.to_wire(errors.RemoteError("from afar", code=4711, domain=99, errno=32))
    assert wire_errors.to_wire(wire_errors.from_wire(first)) == first


def test_code_0_is_never_sent() -> None:
    assert wire_errors.to_wire(errors.RemoteError("odd", code=0, domain=0)).code == 1


@pytest.mark.parametrize(
    ("str1", "str2", "text"),
    [
        ("%s", "no", "no"),
        ("format", None, "format"),
        (None, None, "error 42 of domain 10 without a text"),
    ],
)
def test_no_error_is_shown_empty(str1: str | None, str2: str | None, text: str) -> None:
    sent = wire_errors.to_wire(errors.NoDomain("no"))
    received = dataclasses.replace(sent, message=None, str1=str1, str2=str2)
    assert wire_errors.from_wire(received).message == text


@pytest.mark.parametrize(
    ("error", "unsupported"),
    [
        (errors.RpcError("unknown procedure: 999"), True),
        (errors.RpcError("Cannot find program 543389046 version 1"), True),
        (errors.RpcError("authentication required"), False),
        (errors.RemoteError("unknown procedure: 5", code=39, domain=7), True),
        (errors.RemoteError("not here", code=3, domain=10), True),
        (errors.InternalError("unknown procedure"), False),
    ],
)
def test_is_unsupported(error: errors.RequestError, unsupported: bool) -> None:
    assert wire_errors.is_unsupported(error) is unsupported


@given(examples.values(codec_of(types.Error)))
def test_whatever_a_peer_sends_can_be_raised_and_passed_on(received: types.Error) -> None:
    again = wire_errors.to_wire(wire_errors.from_wire(received))
    assert again.message
    assert again.code != 0
    assert encode(again)
