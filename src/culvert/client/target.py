"""The daemon that is meant, and the domain that is meant there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

from culvert.ground import errors
from culvert.ground.uri import ConnectionURI
from culvert.protocol import remote_list, types
from culvert.rpc import client as rpc
from culvert.rpc import prologue

ENVIRONMENT_URI = "CULVERT_URI"
SYSTEM_SOCKET = "/run/culvert/culvert-sock"
CONNECT_SECONDS = 20.0
FAREWELL_SECONDS = 5.0


class Unreachable(errors.OperationFailed):
    """The daemon could not be connected to: nothing was asked of it."""


def default_uri(environment: Mapping[str, str], uid: int) -> str:
    """The daemon meant where none is named.

    ``$CULVERT_URI``, or else the UNIX socket of the daemon that this user would start: root's in /run, anybody else's
    in the XDG runtime directory.
    """
    if given := environment.get(ENVIRONMENT_URI):
        return given
    if uid == 0:
        return f"qemu+unix:///system?socket={SYSTEM_SOCKET}"
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    return f"qemu+unix:///session?socket={runtime}/culvert/culvert-sock"


@asynccontextmanager
async def opened(uri: ConnectionURI, *, timeout: float = CONNECT_SECONDS) -> AsyncIterator[rpc.Client]:
    """An open connection to the daemon at ``uri`` for the length of the block.

    Raises ``Unreachable`` when there is none to be had; what the block raises comes out as it is.
    """
    async with contextlib.AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(rpc.connect(uri, timeout=timeout))
            await prologue.open_connection(client)
        except errors.RequestError as err:
            raise Unreachable(f"no connection to the daemon at {uri}: {err}", errno=err.errno) from err
        yield client
        # A daemon that does not take a good-bye must not turn a good result into a bad one.
        with contextlib.suppress(errors.RequestError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await prologue.close_connection(client)


async def find(client: rpc.Client, text: str) -> types.Domain:
    """The domain that ``text`` names: by id, by UUID, by name, the first that fits (as virsh reads it).

    Raises ``errors.RemoteError`` with the daemon's NO_DOMAIN when nothing fits.
    """
    if text.isdecimal() and int(text) < 2**31:
        with contextlib.suppress(errors.RemoteError):
            return (await client.call(remote_list.DOMAIN_LOOKUP_BY_ID, remote_list.IDArgs(int(text)))).dom
    if (uuid := as_uuid(text)) is not None:
        with contextlib.suppress(errors.RemoteError):
            return (await client.call(remote_list.DOMAIN_LOOKUP_BY_UUID, remote_list.UUIDArgs(uuid))).dom
    return (await client.call(remote_list.DOMAIN_LOOKUP_BY_NAME, remote_list.NameArgs(text))).dom


def as_uuid(text: str) -> bytes | None:
    """The 16 bytes of a UUID written with hyphens; None for any other text."""
    if len(text) != 36:
        return None
    try:
        return UUID(text).bytes
    except ValueError:
        return None
