"""What a source knows of the daemon at the other end: asked once a connection, and known when that has gone."""

from __future__ import annotations

from typing import Any, cast

import pytest

from culvert.ground import errors, uri
from culvert.ground.errors import ErrorCode
from culvert.migration.peers.peer import Peer
from culvert.protocol import culvert
from culvert.protocol.procedure import Procedure
from culvert.rpc.client import Client


class Daemon:
    """A connection that each of ``answers`` comes by in turn, and no more."""

    def __init__(self, *answers: culvert.HelloRet | errors.RequestError) -> None:
        self.answers = list(answers)
        self.asked: list[culvert.HelloArgs] = []
        self.peer = Peer(uri.parse("qemu+tcp://b/system"), cast(Client, self))

    async def call(self, row: Procedure[Any, Any], args: culvert.HelloArgs) -> culvert.HelloRet:
        assert row is culvert.HELLO
        self.asked.append(args)
        answer = self.answers.pop(0) if self.answers else errors.ConnectionLost("the link is closed")
        if isinstance(answer, errors.RequestError):
            raise answer
        return answer


def hello(*abilities: str) -> culvert.HelloRet:
    return culvert.HelloRet("0.2.0", "host-b", list(abilities))


def no_such(text: str) -> errors.RemoteError:
    return errors.RemoteError(text, code=int(ErrorCode.RPC), domain=0)


async def test_what_it_speaks_is_known_when_the_connection_has_gone() -> None:
    """A route that outlives the connection of the calls needs it only afterwards."""
    daemon = Daemon(hello("pump", *culvert.WIRES))
    assert await daemon.peer.abilities() == {"pump", *culvert.WIRES}
    assert await daemon.peer.wire() == culvert.WIRE
    assert daemon.asked == [culvert.HelloArgs(["wire-1", "wire-2"])]


async def test_one_that_is_no_culvert_is_not_asked_again() -> None:
    daemon = Daemon(no_such("Cannot find program 543389046 version 1"))
    assert await daemon.peer.abilities() == frozenset()
    assert await daemon.peer.wire() == 1
    assert len(daemon.asked) == 1


async def test_a_refusal_is_no_answer() -> None:
    daemon = Daemon(no_such("authentication required"), hello("pump"))
    with pytest.raises(errors.RemoteError, match="authentication required"):
        await daemon.peer.abilities()
    assert await daemon.peer.abilities() == {"pump"}
