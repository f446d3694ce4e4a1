"""What only clients of others send: a culvert takes what a libvirtd takes, and hangs up no sooner."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from culvert.protocol import remote_connect, remote_list, types
from culvert.protocol.procedure import Procedure
from culvert.wire.packet import PacketStatus, PacketType
from culvert.xdr.struct import Void, decode
from tests.support.daemon import remove_folder, short_folder
from tests.support.interop import Either, Pair, pair
from tests.support.raw import Raw

HOSTNAME = remote_connect.CONNECT_GET_HOSTNAME
LOOKUP = remote_list.DOMAIN_LOOKUP_BY_NAME
NAME = b"qemu:///system"
NOT_FOUND = "Domain not found: no domain with matching name '{}'"


@pytest.fixture(scope="module")
def both() -> Iterator[Pair]:
    """The two, for all of this module: nothing here changes anything."""
    folder = short_folder()
    with pair(folder) as hosts:
        yield hosts
    remove_folder(folder)


@pytest.fixture(params=["culvert", "stock"])
def either(both: Pair, request: pytest.FixtureRequest) -> Either:
    """One of them, and then the other."""
    found: Either = getattr(both, request.param)
    return found


@pytest.mark.parametrize("there", ["00000001", "01000000", "00000002", "ffffffff"])
def test_an_optional_value_is_there_whatever_else_than_0_says_so(either: Either, there: str) -> None:
    """go-libvirt's is 01 00 00 00."""
    with Raw(either, "unix") as raw:
        raw.call(remote_connect.AUTH_LIST, Void())
        named = struct.pack(">I", len(NAME)) + NAME + bytes(-len(NAME) % 4)
        assert raw.ask(remote_connect.CONNECT_OPEN, bytes.fromhex(there) + named + bytes(4)) == b""
        assert raw.call(remote_connect.CONNECT_GET_TYPE, Void()).type == "QEMU"


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (struct.pack(">I", 7) + b"no\0more\0", "no"),  # a string of C's
        (struct.pack(">I", 2) + b"no\1\2", "no"),  # padding
        (struct.pack(">I", 2) + b"\xff\xfe\0\0", "\udcff\udcfe"),  # not UTF-8
        (struct.pack(">I", 2) + b"no\0\0and more", "no"),  # bytes behind the arguments
    ],
)
def test_strings(either: Either, name: bytes, asked: str) -> None:
    with Raw(either, "unix") as raw:
        raw.open()
        found = raw.ask(LOOKUP, name)
        assert isinstance(found, types.Error)
        assert found.message == NOT_FOUND.format(asked)


@pytest.mark.parametrize("need", [1, 5, -1])
def test_a_whole_number_that_means_yes(either: Either, need: int) -> None:
    with Raw(either, "unix") as raw:
        raw.open()
        assert raw.ask(remote_list.CONNECT_LIST_ALL_DOMAINS, struct.pack(">iI", need, 0)) == bytes(8)


@pytest.mark.parametrize(
    ("row", "changed"),
    [
        (HOSTNAME, {"type": 7}),
        (HOSTNAME, {"type": -1, "status": 9}),
        (HOSTNAME, {"type": PacketType.MESSAGE}),
        (HOSTNAME, {"type": PacketType.MESSAGE, "status": 9}),
        (HOSTNAME, {"type": PacketType.REPLY}),
        (HOSTNAME, {"type": PacketType.REPLY, "status": 9}),
        (HOSTNAME, {"type": PacketType.REPLY_WITH_FDS}),
        (HOSTNAME, {"type": PacketType.STREAM, "status": 9}),
        (HOSTNAME, {"type": PacketType.STREAM_HOLE, "status": PacketStatus.CONTINUE}),
    ],
    ids=str,
)
def test_packets_that_are_dropped(either: Either, row: Procedure[Void, object], changed: dict[str, int]) -> None:
    with Raw(either, "unix") as raw:
        raw.open()
        assert raw.send(raw.packed(row, b"", **changed))
        assert raw.call(remote_connect.CONNECT_GET_TYPE, Void()).type == "QEMU"


def test_a_call_with_a_status_that_the_protocol_does_not_have_is_refused(either: Either) -> None:
    with Raw(either, "unix") as raw:
        raw.open()
        found = raw.ask(HOSTNAME, b"", status=9)
        assert isinstance(found, types.Error)
        assert "message status 9" in (found.message or "")
        assert raw.call(remote_connect.CONNECT_GET_TYPE, Void()).type == "QEMU"


def test_a_call_that_passes_no_descriptor_is_served(either: Either) -> None:
    with Raw(either, "unix") as raw:
        raw.open()
        found = raw.ask(HOSTNAME, bytes(4), type=PacketType.CALL_WITH_FDS)
        assert isinstance(found, bytes)
        assert decode(HOSTNAME.ret, found).hostname
