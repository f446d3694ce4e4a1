"""What a client is called in a policy: by the kernel, by its certificate, and by the listener it came to."""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import pwd

from culvert.io import tcp_owner
from culvert.rpc.session import Session

log = logging.getLogger(__name__)

LOOKUP_SECONDS = 10.0
"""How long the system may take to say whose number that is: a directory of users may be at another host."""


async def uid(session: Session) -> int | None:
    """The user on this host whose the connection is, by the kernel's word; None for one that comes from elsewhere.

    Of a UNIX socket it is known at once, of TCP over loopback it is looked up.
    """
    if session.transport != "tcp" or session.remote_address is None or session.local_address is None:
        return session.peer_uid
    if not tcp_owner.is_loopback(session.remote_address[0]):
        return None
    try:
        return await asyncio.to_thread(tcp_owner.uid_of, session.remote_address, session.local_address)
    except OSError as err:
        log.warning("session=%d the kernel does not say whose %s is: %s", session.id, session.peer, err)
        return None


async def names(session: Session, user: int | None) -> frozenset[str]:
    """All of them, each ``KIND:NAME`` (``policy.KINDS``). Who is not in the directory of users has a number only."""
    found = {f"way:{session.way}"}
    if user is not None:
        found.add(f"uid:{user}")
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found |= await asyncio.to_thread(_account, user)
        except TimeoutError:
            log.warning("session=%d nobody has said within %g s who uid %d is", session.id, LOOKUP_SECONDS, user)
    if session.identity is not None:
        found.add(f"certificate:{session.identity.name}")
        for name in session.identity.alternatives:
            found |= {f"certificate:{name}", f"certificate:{name.lower()}"}
    return frozenset(found)


def _account(user: int) -> set[str]:
    try:
        account = pwd.getpwuid(user)
    except KeyError:
        return set()
    found = {f"user:{account.pw_name}"}
    for number in os.getgrouplist(account.pw_name, account.pw_gid):
        try:
            found.add(f"group:{grp.getgrgid(number).gr_name}")
        except KeyError:
            continue
    return found
