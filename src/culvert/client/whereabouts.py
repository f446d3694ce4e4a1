"""Asking a side, or both when a migration is over, where a guest is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

from culvert.client import target
from culvert.client.sighting import Place, Sighting, state_words
from culvert.ground import errors
from culvert.ground import uri as uris
from culvert.ground.errors import ErrorCode
from culvert.protocol import culvert, remote_domain, remote_list, shapes, types
from culvert.protocol.constants_state import DomainState
from culvert.protocol.errors import is_unsupported
from culvert.rpc import client as rpc

ASK_SECONDS = 10.0
_INACTIVE = (DomainState.SHUTOFF, DomainState.NOSTATE, DomainState.CRASHED)


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A domain, and what the daemon that was asked says of it."""

    name: str
    uuid: str
    seen: Sighting


async def now(client: rpc.Client, dom: types.Domain) -> Whereabouts:
    """Where ``dom`` is now, as the daemon at the other end of ``client`` sees it. Never raises a refusal."""
    return Whereabouts(dom.name, str(UUID(bytes=dom.uuid)), await look(client, dom.uuid))


async def look(client: rpc.Client, uuid: bytes) -> Sighting:
    """What the daemon at the other end of ``client`` says of the domain. Never raises a refusal: it is an answer."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            host = await _host(client)
            found = await client.call(remote_list.DOMAIN_LOOKUP_BY_UUID, remote_list.UUIDArgs(uuid))
            state = await client.call(remote_domain.DOMAIN_GET_STATE, shapes.DomainFlagsArgs(found.dom, 0))
    except TimeoutError:
        return Sighting(Place.UNKNOWN, why=f"no answer in {ASK_SECONDS:g} s")
    except errors.RequestError as err:
        if errors.triple(err)[0] == ErrorCode.NO_DOMAIN:
            return Sighting(Place.ABSENT)  # host does not matter: nothing of it can be counted twice
        return Sighting(Place.UNKNOWN, why=str(err))
    return Sighting(
        Place.INACTIVE if state.state in _INACTIVE else Place.ACTIVE,
        state=state_words(state.state, state.reason),
        running=state.state in (DomainState.RUNNING, DomainState.BLOCKED),
        host=host,
    )


async def _host(client: rpc.Client) -> str:
    """The daemon's own UUID; empty where it is not a culvert."""
    try:
        return (await client.call(culvert.HELLO, culvert.HelloArgs([]))).host_uuid
    except errors.RequestError as err:
        if not is_unsupported(err):
            raise
        return ""


async def ask(uri: str, uuid: bytes) -> Sighting:
    """``look`` over a connection of its own, which may not be possible from here."""
    try:
        async with target.opened(uris.parse(uri), timeout=ASK_SECONDS) as client:
            return await look(client, uuid)
    except errors.RequestError as err:
        return Sighting(Place.UNKNOWN, why=str(err.__cause__ or err))


async def look_or_ask(client: rpc.Client, uuid: bytes) -> Sighting:
    """``look`` on a connection that may be gone: then one of its own."""
    if not client.closed.is_set():
        seen = await look(client, uuid)
        if seen.place is not Place.UNKNOWN:
            return seen
    return await ask(str(client.uri), uuid)
