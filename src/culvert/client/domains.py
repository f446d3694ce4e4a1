"""The domains of a daemon: listed, defined, started, ended."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from uuid import UUID

from culvert.client import history, target, whereabouts
from culvert.client.sighting import state_words
from culvert.client.whereabouts import Whereabouts
from culvert.ground import errors
from culvert.protocol import remote_domain, remote_list, shapes
from culvert.protocol.constants_flag import ListFlag
from culvert.rpc import client as rpc


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of a daemon, ``state`` in words; ``id`` is None for one without a process.

    ``waits_for``: what a guest does that stands still until it is known where it runs.
    """

    id: int | None
    name: str
    uuid: str
    state: str
    waits_for: str = ""


async def listing(client: rpc.Client, *, everything: bool) -> list[Domain]:
    """The active domains, or all; by name."""
    flags = ListFlag.ACTIVE | ListFlag.INACTIVE if everything else ListFlag.ACTIVE
    found = await client.call(remote_list.CONNECT_LIST_ALL_DOMAINS, shapes.ListAllArgs(1, int(flags)))
    waits = {each.uuid: each for each in await history.waiting(client)}
    domains = []
    for dom in sorted(found.domains, key=lambda dom: dom.name):
        # A domain may go between the two questions; then it is no longer one to be listed.
        with contextlib.suppress(errors.RemoteError):
            state = await client.call(remote_domain.DOMAIN_GET_STATE, shapes.DomainFlagsArgs(dom, 0))
            words = state_words(state.state, state.reason)
            waiting = waits.pop(uuid := UUID(bytes=dom.uuid), None)
            why = waiting.why if waiting is not None else ""
            domains.append(Domain(None if dom.id < 0 else dom.id, dom.name, str(uuid), words, why))
    # Of a transient domain whose QEMU has gone nothing is left but what is waited for.
    domains += [Domain(None, each.name, str(uuid), "no state", each.why) for uuid, each in waits.items()]
    return domains


async def define(client: rpc.Client, xml: str) -> Whereabouts:
    """Define a domain."""
    return await whereabouts.now(
        client, (await client.call(remote_domain.DOMAIN_DEFINE_XML, shapes.XMLArgs(xml))).dom
    )


async def start(client: rpc.Client, domain: str) -> Whereabouts:
    """Start a defined domain."""
    dom = await target.find(client, domain)
    await client.call(remote_domain.DOMAIN_CREATE, shapes.DomainArgs(dom))
    return await whereabouts.now(client, dom)


async def destroy(client: rpc.Client, domain: str) -> Whereabouts:
    """End a guest at once, as pulling its plug would."""
    dom = await target.find(client, domain)
    await client.call(remote_domain.DOMAIN_DESTROY, shapes.DomainArgs(dom))
    return await whereabouts.now(client, dom)
