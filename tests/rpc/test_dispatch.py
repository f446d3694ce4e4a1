from __future__ import annotations

import pytest

from culvert.ground import errors
from culvert.protocol import types
from culvert.protocol.procedure import Procedure
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.rpc.stream import Stream
from culvert.wire.connection import Connection
from culvert.wire.packet import Header, PacketStatus, PacketType
from culvert.wire.stream import Role
from culvert.xdr.struct import Void, decode, encode
from tests.rpc import support
from tests.rpc.raw import Raw, raw
from tests.rpc.support import PROGRAM, Service, Text, connected


def call(number: int, payload: bytes = b"", *, program: int = PROGRAM.number, version: int = 1) -> bytes:
    return Connection(Role.CLIENT).call(program, version, number, payload)[1]


async def refusal(peer: Raw, data: bytes) -> types.Error:
    peer.send(data)
    header, payload = await peer.packet()
    assert (header.type, header.status) == (PacketType.REPLY, PacketStatus.ERROR)
    error = decode(types.Error, payload)
    assert (error.level, error.int2, error.dom, error.net) == (2, -1, None, None)
    return error


@pytest.mark.parametrize(
    ("data", "code", "domain", "text"),
    [
        (call(1, program=0x999), 39, 7, "Cannot find program 2457 version 1"),
        (call(1, version=2), 39, 7, f"Cannot find program {PROGRAM.number} version 2"),
        (call(9999), 39, 7, "unknown procedure: 9999"),
        (call(-1), 39, 7, "unknown procedure: -1"),
        (call(support.UNSERVED.number), 39, 7, "unknown procedure: 12 (UNSERVED is not served by culvert)"),
        (call(support.NEEDS_OPEN.number), 1, 7, "hypervisor connection not open"),
        (
            call(support.ECHO.number),
            39,
            7,
            "Unable to decode message payload of ECHO: data ends inside a unsigned int",
        ),
        (call(support.REFUSED.number, encode(Text("no guest"))), 42, 10, "Domain not found: no guest"),
        (call(support.BROKEN.number), 1, 10, "internal error: BROKEN: 'a bug'"),
        (
            call(support.UPLOAD.number, encode(Text("refuse"))),
            55,
            10,
            "Requested operation is not valid: no upload now",
        ),
        (
            Header(PROGRAM.number, 1, 1, PacketType.CALL, 0, PacketStatus.ERROR).pack(0),
            *(39, 7, "unexpected message status 1 in a call"),
        ),
        (
            Header(PROGRAM.number, 1, 1, PacketType.CALL, 0, 9).pack(0),
            *(39, 7, "unexpected message status 9 in a call"),
        ),
        (
            Header(PROGRAM.number, 1, 1, PacketType.CALL_WITH_FDS, 0, PacketStatus.OK).pack(4) + b"\0\0\0\1" + b"\0",
            *(84, 10, "Operation not supported: passing file descriptors is not supported"),
        ),
    ],
)
async def test_refusals_and_the_connection_lives_on(data: bytes, code: int, domain: int, text: str) -> None:
    async with raw() as (peer, _):
        error = await refusal(peer, data)
        assert (error.code, error.domain, error.message) == (code, domain, text)
        peer.send(call(support.ECHO.number, encode(Text("on"))))
        assert decode(Text, (await peer.packet())[1]) == Text("on")


async def test_trailing_bytes_are_ignored() -> None:
    async with raw() as (peer, _):
        peer.send(call(support.ECHO.number, encode(Text("on")) + b"more"))
        assert decode(Text, (await peer.packet())[1]) == Text("on")


async def test_nothing_before_authentication() -> None:
    async with raw(authentication=True) as (peer, server):
        error = await refusal(peer, call(support.ECHO.number, encode(Text(""))))
        assert (error.code, error.domain, error.message) == (39, 7, "authentication required")
        assert server.sessions[1].anonymous
        peer.send(call(support.LOGIN.number))
        assert (await peer.packet())[0].status is PacketStatus.OK
        assert not server.sessions[1].anonymous
        peer.send(call(support.ECHO.number, encode(Text("on"))))
        assert (await peer.packet())[0].status is PacketStatus.OK


async def test_read_only() -> None:
    service = Service()
    async with connected(service) as (client, server):
        await client.call(support.OPEN, Void())
        server.sessions[1].read_only = True
        await client.call(support.NEEDS_OPEN, Void())
        with pytest.raises(errors.RemoteError, match="read-only") as refused:
            await client.call(support.MODIFY, Void())
        assert refused.value.remote_code == errors.ErrorCode.OPERATION_DENIED


async def test_handlers_are_checked_when_they_are_declared() -> None:
    handlers = Handlers(PROGRAM)

    @handlers.serves(support.ECHO)
    async def echo(session: Session, args: Text) -> Text:
        return args

    async def body(stream: Stream) -> None:
        pass

    async def talk(session: Session, args: Void) -> tuple[Void, object]:
        return args, body

    async def gate(session: Session, args: Void) -> Void:
        return args

    with pytest.raises(ValueError, match="ECHO is served already"):
        handlers.serves(support.ECHO)(echo)
    with pytest.raises(ValueError, match="TALK opens a stream"):
        handlers.add(support.TALK, gate)
    with pytest.raises(ValueError, match="GATE opens no stream"):
        handlers.add_stream(support.GATE, talk)  # type: ignore[arg-type]  # that is the point
    foreign = Procedure(1, "FOREIGN", Void, Void)
    with pytest.raises(ValueError, match="not a row of program TEST"):
        handlers.add(foreign, gate)
    assert list(handlers) == [support.ECHO]
    assert handlers.get(support.ECHO.number) is echo
