"""What every libvirt client says first and last on a connection (src/remote/remote_driver.c, ``doRemoteOpen``)."""

from __future__ import annotations

import contextlib

from culvert.ground import errors
from culvert.protocol import remote_connect
from culvert.protocol.errors import is_unsupported
from culvert.rpc.client import Client
from culvert.xdr.struct import Void

PROGRAM_KEEPALIVE = 10  # VIR_DRV_FEATURE_PROGRAM_KEEPALIVE
OPEN_READ_ONLY = 1  # VIR_CONNECT_RO
_AUTH_NONE = int(remote_connect.AuthType.NONE)


async def open_connection(client: Client, uri: str | None = None, *, read_only: bool = False) -> None:
    """Authenticate, agree on keepalive, open ``uri`` (by default the client's own, without what only clients need).

    Raises ``errors.AuthenticationFailed`` when the daemon wants an authentication culvert does not have, and what the
    daemon refuses.
    """
    await _authenticate(client)
    await agree_on_keepalive(client)
    name = client.uri.open_name if uri is None else uri
    args = remote_connect.ConnectOpenArgs(name, OPEN_READ_ONLY if read_only else 0)
    await client.call(remote_connect.CONNECT_OPEN, args)


async def _authenticate(client: Client) -> None:
    try:
        offered = (await client.call(remote_connect.AUTH_LIST, Void())).types
    except errors.RemoteError as err:
        if not is_unsupported(err):
            raise
        return  # a daemon that does not know the question wants no authentication
    # Like libvirt's client: the first entry counts, an empty list means none.
    if offered and offered[0] != _AUTH_NONE:
        names = {int(kind): kind.name.lower() for kind in remote_connect.AuthType}
        wanted = names.get(offered[0], str(offered[0]))
        raise errors.AuthenticationFailed(f"daemon at {client.peer} wants authentication '{wanted}', not supported")


async def agree_on_keepalive(client: Client) -> bool:
    """Ask whether the daemon keeps connections alive; if so it pings from now on, and so does the client."""
    try:
        answer = await client.call(
            remote_connect.CONNECT_SUPPORTS_FEATURE, remote_connect.FeatureArgs(PROGRAM_KEEPALIVE)
        )
    except errors.RemoteError as err:
        if not is_unsupported(err):
            raise
        return False
    if answer.supported == 1:
        client.start_keepalive()
    return answer.supported == 1


async def close_connection(client: Client) -> None:
    """Say good-bye; the daemon then closes the connection. A connection already lost is as good."""
    with contextlib.suppress(errors.ConnectionLost):
        await client.call(remote_connect.CONNECT_CLOSE, Void())
