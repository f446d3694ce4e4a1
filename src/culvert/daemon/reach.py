"""How other daemons reach this one's port: the URI that a destination hands to whoever drives a migration."""

from __future__ import annotations

from urllib.parse import urlsplit

from culvert.daemon.service import Service
from culvert.ground import errors
from culvert.ground.uri import ConnectionURI
from culvert.migration.source import ATTEMPT_PARAMETER
from culvert.rpc.session import Session

WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def address(service: Service, session: Session, asked: str | None) -> ConnectionURI:
    """Where the source is to connect to for the data: always a listener that already is there.

    The host is, in this order: the one in the migration URI that the user typed (``tcp://HOST``), the configured one,
    the address at which the client itself came in, a listener's own. A client that came by the UNIX socket of a
    daemon without TCP listeners gets that socket. Raises ``InvalidArgument`` for a migration URI that cannot be read.
    """
    if asked:
        parts = urlsplit(asked)
        if parts.scheme != "tcp" or not parts.hostname:
            raise errors.InvalidArgument(
                f"migration URI '{asked}' is not of the form tcp://HOST; the port is always the daemon's own"
            )
        host = parts.hostname
    else:
        host = service.config.migration.host
    came_in = session.local_address
    if not host and came_in is not None:
        return ConnectionURI("qemu", "tcp", host=came_in[0], port=came_in[1])
    for listener_host, port in service.tcp_addresses:
        reachable = host or ("" if listener_host in WILDCARDS else listener_host) or service.hostname
        return ConnectionURI("qemu", "tcp", host=reachable, port=port)
    if host:
        raise errors.OperationInvalid(
            f"this daemon has no TCP listener, so it cannot be reached at '{host}': start it with --listen"
        )
    return ConnectionURI("qemu", "unix", parameters={"socket": service.socket_path})


def for_token(where: ConnectionURI, token: str) -> ConnectionURI:
    """The same with the token that opens the data stream."""
    return where.with_parameters(**{ATTEMPT_PARAMETER: token})
