"""The destination daemon as the source sees it: a client connection and the calls of a migration."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from culvert.channels.key import ChannelKey
from culvert.channels.plan import Channel
from culvert.ground import errors, uri
from culvert.ground.uri import ConnectionURI
from culvert.io.detached import Detached
from culvert.io.tls_side import ClientSide
from culvert.migration.options.parameters import SOURCE_ONLY_FLAGS, Options
from culvert.protocol import culvert, culvert_wire_1, remote_connect, remote_domain, remote_migrate, shapes, types
from culvert.protocol.constants_flag import XMLFlag
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.protocol.constants_state import Feature
from culvert.protocol.errors import is_unsupported
from culvert.protocol.procedure import Wait
from culvert.rpc import client, prologue
from culvert.rpc.stream import Stream
from culvert.xdr.struct import Void

# What a destination must be able to do, and what is said of one that cannot (libvirt-domain.c, qemu_migration.c).
REQUIRED_FEATURES = {
    Feature.MIGRATION_P2P: "peer-to-peer migration",
    Feature.MIGRATION_V3: "migration protocol version 3",
    Feature.MIGRATION_PARAMS: "migration with parameters",
}


SEALED = 2  # the wire since which who asks for an outcome shows the seal
GOODBYE_TIMEOUT = 0.5  # seconds for a daemon to hear that the work is done; it sees the connection end anyway


class Peer:
    """An open connection to the daemon at ``uri``."""

    def __init__(self, where: ConnectionURI, connection: client.Client) -> None:
        self.uri = where
        self._client = connection
        self._hello: culvert.HelloRet | None = None

    @property
    def name(self) -> str:
        """Where the daemon is, for people."""
        return self._client.peer

    @property
    def closed(self) -> asyncio.Event:
        """Set when the connection is gone."""
        return self._client.closed

    @property
    def close_reason(self) -> str:
        """Why it is gone."""
        return self._client.close_reason

    async def check(self) -> None:
        """Raises ``ArgumentUnsupported`` naming what the daemon at the other end cannot do."""
        for feature, name in REQUIRED_FEATURES.items():
            answer = await self._client.call(
                remote_connect.CONNECT_SUPPORTS_FEATURE, remote_connect.FeatureArgs(int(feature))
            )
            if not answer.supported:
                raise errors.ArgumentUnsupported(f"the destination {self.uri} does not support {name}")

    async def prepare_tunnel(self, options: Options, cookie: bytes) -> tuple[bytes, Stream]:
        """PREPARE_TUNNEL3: the destination's cookie, and the stream that leads to its QEMU."""
        options = options.without_places().with_flags(MigrateFlag.PEER2PEER | MigrateFlag.TUNNELLED)
        answer, stream = await self._client.open_stream(
            remote_migrate.DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS, _prepare(options, cookie)
        )
        return answer.cookie_out, stream

    async def prepare(self, options: Options, cookie: bytes) -> tuple[bytes, str]:
        """PREPARE3, where the data (if any) comes by a connection of its own: the cookie, and the URI for that."""
        answer = await self._client.call(remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS, _prepare(options, cookie))
        return answer.cookie_out, answer.uri_out or ""

    async def finish(self, options: Options, cookie: bytes, *, cancelled: bool, patient: bool = False) -> bytes:
        """FINISH3: its cookie. With ``cancelled`` the answer is always an error, 93 where all is well.

        ``patient``: the answer may come only when the last page of a post-copy is there.
        """
        answer = await self._client.call(
            remote_migrate.DOMAIN_MIGRATE_FINISH3_PARAMS,
            remote_migrate.Finish3ParamsArgs(
                options.for_destination().to_typed(), cookie, _flags(options), int(cancelled)
            ),
            timeout=Wait.LONG.value if patient else None,
        )
        return answer.cookie_out

    async def abilities(self) -> frozenset[str]:
        """What of culvert's own program the daemon has; nothing where it is no culvert. Asked once a connection."""
        return frozenset((await self._said_hello()).abilities)

    async def host(self) -> str:
        """The daemon's host UUID as it says it; empty where it is no culvert."""
        return (await self._said_hello()).host_uuid

    async def _said_hello(self) -> culvert.HelloRet:
        if self._hello is None:
            try:
                self._hello = await self._client.call(culvert.HELLO, culvert.HelloArgs(list(culvert.WIRES)))
            except errors.RemoteError as err:
                if not is_unsupported(err):
                    raise
                self._hello = culvert.HelloRet("", "", [])
        return self._hello

    async def wire(self) -> int:
        """Which form of culvert's own program is spoken with the daemon."""
        return culvert.wire(await self.abilities())

    async def version(self) -> int:
        """Of the QEMU that the daemon starts, as ``combinations.Version``."""
        return int((await self._client.call(remote_connect.CONNECT_GET_VERSION, Void())).hv_ver)

    async def keep_alive(self) -> None:
        """Notice when the daemon is silent, from now on."""
        await prologue.agree_on_keepalive(self._client)

    async def direct(self, key: ChannelKey) -> socket.socket:
        """This connection itself as the data path that ``key`` opens; it carries no call afterwards."""
        return await key.direct(self._client)

    async def channel(self, key: ChannelKey, channel: Channel, received: int) -> tuple[int, Detached]:
        """This connection itself as one channel: (bytes the destination has, itself); see ``ChannelKey``."""
        return await key.channel(self._client, channel, received)

    async def recover(self, attempt: str, grant: str, *, preempt: bool) -> tuple[str, str]:
        """Make ready for a new way of a post-copy that has lost its own: (the domain's name there, the ticket).

        Raises ``errors.RemoteError`` when the destination has no such post-copy.
        """
        args = culvert.MigrationRecoverArgs(attempt, grant, int(preempt))
        answer = await self._client.call(culvert.MIGRATION_RECOVER, args)
        return answer.name, answer.ticket

    async def probe(self, data: bytes) -> None:
        """Have the daemon take ``data`` and throw it away; it has all of it on return."""
        await self._client.call(culvert.MIGRATION_PROBE, culvert.MigrationProbeArgs(data))

    async def attach(self, key: ChannelKey) -> Stream:
        """The data stream of the migration that ``key`` opens."""
        return await key.attach(self._client)

    async def domain_xml(self, dom: types.Domain) -> str:
        """How the daemon would describe the domain to a further one (VIR_DOMAIN_XML_MIGRATABLE)."""
        args = shapes.DomainFlagsArgs(dom, XMLFlag.MIGRATABLE)
        return (await self._client.call(remote_domain.DOMAIN_GET_XML_DESC, args)).xml

    async def state(self, dom: types.Domain) -> tuple[int, int]:
        """State and reason of the daemon's domain of that UUID, in libvirt's numbers."""
        answer = await self._client.call(remote_domain.DOMAIN_GET_STATE, shapes.DomainFlagsArgs(dom, 0))
        return answer.state, answer.reason

    async def outcome(self, dom: types.Domain, attempt: str, seal: str) -> tuple[culvert.Outcome, str]:
        """What became of ``attempt``, and the reason in words. Asking settles an attempt that nobody is finishing.

        ``seal``: what the destination was shown of it when it prepared.
        """
        if await self.wire() >= SEALED:
            sealed = culvert.MigrationOutcomeArgs(dom, attempt, seal)
            answer = await self._client.call(culvert.MIGRATION_OUTCOME, sealed)
            return culvert.Outcome(answer.outcome), answer.detail
        bare = culvert_wire_1.MigrationOutcome1Args(dom, attempt)
        before = await self._client.call(culvert_wire_1.MIGRATION_OUTCOME_1, bare)
        return culvert.Outcome(before.outcome), before.detail


def _flags(options: Options) -> int:
    return int(options.flags & ~SOURCE_ONLY_FLAGS)


def _prepare(options: Options, cookie: bytes) -> remote_migrate.Prepare3ParamsArgs:
    return remote_migrate.Prepare3ParamsArgs(options.for_destination().to_typed(), cookie, _flags(options))


@dataclass(frozen=True, slots=True)
class Dialler:
    """Connects to the daemons of other hosts: within ``seconds``, showing what ``security`` says this one shows."""

    seconds: float = 20.0
    security: ClientSide = field(default_factory=ClientSide)

    @asynccontextmanager
    async def connect(self, text: str, *, hypervisor: bool = True) -> AsyncIterator[Peer]:
        """Connect to the daemon that ``text`` names and close the connection at the end of the block.

        ``hypervisor``: also keepalive and CONNECT_OPEN, for everything that is not culvert's own program. Raises
        ``InvalidArgument`` for a URI that cannot be read, and what connecting raises, naming the destination.
        """
        where = uri.parse(text)
        async with client.connect(where, timeout=self.seconds, security=self.security) as connection:
            if hypervisor:
                await prologue.open_connection(connection)
            yield Peer(where, connection)
            # The work is done: a connection that ends before its goodbye costs nobody anything.
            with suppress(errors.RequestError, TimeoutError):
                async with asyncio.timeout(GOODBYE_TIMEOUT):
                    await prologue.close_connection(connection)
