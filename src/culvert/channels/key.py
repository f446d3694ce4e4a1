"""The calls that open the channels of one prepared migration, in the form that the daemon at the other end speaks."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from culvert.channels.plan import MAIN, Channel, ChannelPlan
from culvert.channels.ticket import Ticket, opening, opening_number
from culvert.io.detached import Detached
from culvert.protocol import culvert, culvert_wire_1
from culvert.rpc.client import Client
from culvert.rpc.stream import Stream

NAMED = 2  # the wire since which a channel has a kind and a name


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """``ticket`` is the destination's, ``wire`` what it speaks (``protocol.culvert.wire``), ``plan`` the channels.

    Every call shows a token of its own, so that one whose answer was lost can be asked anew. Each raises what calling
    raises, and ``errors.RemoteError`` with the destination's refusal.
    """

    ticket: Ticket
    wire: int
    plan: ChannelPlan
    _attempts: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def attach(self, client: Client) -> Stream:
        """The data stream of the migration, beside the calls of ``client``."""
        if self.wire >= NAMED:
            named = culvert.MigrationAttachArgs(self._token(MAIN), MAIN.kind, MAIN.name)
            return (await client.open_stream(culvert.MIGRATION_ATTACH, named))[1]
        numbered = culvert_wire_1.MigrationAttach1Args(self._token(MAIN), self.plan.number(MAIN))
        return (await client.open_stream(culvert_wire_1.MIGRATION_ATTACH_1, numbered))[1]

    async def direct(self, client: Client) -> socket.socket:
        """The connection of ``client`` itself as the data path; it carries no call afterwards."""
        if self.wire >= NAMED:
            named = culvert.MigrationAttachArgs(self._token(MAIN), MAIN.kind, MAIN.name)
            return (await client.turn_into(culvert.MIGRATION_DIRECT, named))[1].sock
        numbered = culvert_wire_1.MigrationAttach1Args(self._token(MAIN), self.plan.number(MAIN))
        return (await client.turn_into(culvert_wire_1.MIGRATION_DIRECT_1, numbered))[1].sock

    async def channel(self, client: Client, channel: Channel, received: int) -> tuple[int, Detached]:
        """The same as ``channel`` of the pump route: (bytes the destination has, the connection).

        ``received``: bytes of the destination's that are here already.
        """
        token = self._token(channel)
        if self.wire >= NAMED:
            named = culvert.MigrationChannelArgs(token, channel.kind, channel.name, received)
            answer, detached = await client.turn_into(culvert.MIGRATION_CHANNEL, named)
            return answer.received, detached
        numbered = culvert_wire_1.MigrationChannel1Args(token, self.plan.number(channel), received)
        before, detached = await client.turn_into(culvert_wire_1.MIGRATION_CHANNEL_1, numbered)
        return before.received, detached

    def _token(self, channel: Channel) -> str:
        opens = (
            opening(channel.kind, channel.name) if self.wire >= NAMED else opening_number(self.plan.number(channel))
        )
        return self.ticket.token(opens, next(self._attempts))
