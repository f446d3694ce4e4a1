"""How a channel's bytes move from the source's QEMU to the destination's.

======== ===================================================================================== =================
route    how                                                                                   daemons
======== ===================================================================================== =================
stream   packets of an RPC connection: QEMU ⇄ socket pair ⇄ relay ⇄ stream                     copy every byte
direct   a connection to the peer's same port, opened with a one-time token; its descriptor    out of the path
         is handed to QEMU on both sides
pump     such a connection for every channel; a worker moves the bytes, numbered and           copy every byte,
         acknowledged, so that a lost connection is opened anew and QEMU notices nothing       outside the loop
======== ===================================================================================== =================

A route is chosen by the destination's URI (``?route=``) or the configuration. ``auto`` is direct where nothing has to
be encrypted, one channel is enough and post-copy not allowed, pump where that is not so, stream where the other end
is no culvert. By ssh, where every further connection would be another ssh, it is stream where one channel is enough.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from culvert.ground import errors

PARAMETER = "route"  # of the destination's connection URI
COMPRESSION_PARAMETER = "compression"
AUTO = "auto"
COMPRESSIONS = ("off", "auto", "on")


class Route(Enum):
    """The value is the word in URIs, the configuration, job statistics and a peer's HELLO."""

    STREAM = "stream"
    DIRECT = "direct"
    PUMP = "pump"


def choose(
    wanted: str,
    abilities: Collection[str],
    transport: str,
    *,
    connections: int = 0,
    compression: str = "off",
    postcopy: bool = False,
) -> Route:
    """The route to a peer with these abilities, reached by this transport.

    ``connections``: channels besides the main one. ``postcopy``: allowed, so the destination's QEMU must be able to
    ask for pages, and had best notice nothing of a lost connection. Raises ``InvalidArgument`` for a word that is no
    route or no compression, ``ArgumentUnsupported`` when what is wanted cannot be had, with the reason.
    """
    if wanted not in (AUTO, *(route.value for route in Route)):
        raise errors.InvalidArgument(f"route '{wanted}' is not one of auto, direct, pump, stream")
    if compression not in COMPRESSIONS:
        raise errors.InvalidArgument(f"compression '{compression}' is not one of {', '.join(COMPRESSIONS)}")
    obstacles = {
        Route.DIRECT: (
            "a culvert that knows it at the other end" if Route.DIRECT.value not in abilities else "",
            "a connection without encryption (tcp or unix)" if transport not in ("tcp", "unix") else "",
            "a single channel" if connections else "",
            "compression off" if compression != "off" else "",
        ),
        Route.PUMP: ("a culvert that knows it at the other end" if Route.PUMP.value not in abilities else "",),
        Route.STREAM: (
            "no post-copy (the destination's QEMU could not ask for pages)" if postcopy else "",
            "a single channel" if connections else "",
            "compression off" if compression != "off" else "",
        ),
    }
    order = [Route.DIRECT, Route.PUMP, Route.STREAM] if wanted == AUTO else [Route(wanted)]
    if transport == "ssh" and wanted == AUTO:
        order = [Route.STREAM, Route.PUMP]
    if postcopy:
        order.sort(key=lambda route: route is not Route.PUMP)
    for route in order:
        if not any(obstacles[route]):
            return route
    needs = " and ".join(need for need in obstacles[order[-1]] if need)
    hint = "; the other end is no culvert that has another route" if wanted == AUTO else ""
    raise errors.ArgumentUnsupported(f"route '{order[-1].value}' needs {needs}{hint}")
