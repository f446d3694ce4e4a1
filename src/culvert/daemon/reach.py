"""How other daemons reach this one's port: the URI that a destination hands to whoever drives a migration."""

from __future__ import annotations

import ipaddress

from culvert.channels.ticket import TICKET_PARAMETER
from culvert.daemon.service import Service
from culvert.ground import errors
from culvert.ground.uri import ConnectionURI
from culvert.migration.options import migration_uri
from culvert.migration.options.parameters import Options
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.rpc.session import Session

WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def address(service: Service, session: Session, asked: str | None, *, source: str = "") -> ConnectionURI:
    """Where the source is to connect to for the data: always a listener that already is there.

    The host is, in this order: the one in the migration URI that the user typed (``tcp://HOST``), the configured one,
    the address at which the client itself came in, a listener's own. The listener is the client's own, or one of the
    same kind, or one for TLS, or any; among equals one that is at that host. A client that came by the UNIX socket of
    a daemon without other listeners gets that socket.

    ``source``: the name of the source's host, where it has no other way than this. What means itself on any host, a
    socket and loopback, is then given only where the source seems to be on this one. Raises ``InvalidArgument`` for a
    migration URI that cannot be read, ``OperationInvalid`` saying what is missing where nothing can be given.
    """
    host = migration_uri.host(asked) if asked else service.config.migration.host
    came_in = session.local_address
    elsewhere = bool(source) and source != service.hostname
    if not host and came_in is not None and not (elsewhere and _means_itself(came_in[0])):
        name = _certified(service, session.transport, came_in[0])
        return ConnectionURI("qemu", session.transport, host=name, port=came_in[1])
    preferred = (session.transport, "tls")
    best_first = sorted(
        service.reachable,
        key=lambda found: (_rank(found[0], preferred), bool(host) and found[1] not in (host, *WILDCARDS)),
    )
    for transport, listener_host, port in best_first:
        own = service.hostname if listener_host in WILDCARDS else listener_host
        if not host and elsewhere and _means_itself(own):
            continue
        return ConnectionURI("qemu", transport, host=host or _certified(service, transport, own), port=port)
    if host:
        raise errors.OperationInvalid(
            f"this daemon has no TLS or TCP listener, so it cannot be reached at '{host}': start it with --listen"
        )
    if elsewhere:
        raise errors.OperationInvalid(
            f"host '{service.hostname}' listens nowhere that host '{source}' can reach: set 'listen' in section"
            " [daemon] of its configuration (and 'host' in section [migration], or a migration URI, where its name"
            " does not do), or migrate peer-to-peer (--p2p), which goes through qemu+ssh:// too"
        )
    return ConnectionURI("qemu", "unix", parameters={"socket": service.socket_path})


def bare(service: Service, session: Session, options: Options) -> str:
    """Where a source that is no culvert is to send a guest without a tunnel: ``tcp://HOST:PORT`` of a listener here.

    Hosts as with ``address``. Raises ``OperationUnsupported`` when it would be no better than to refuse: there is no
    clear-text listener, or only peers with a name are let in.
    """
    listeners = [(host, port) for transport, host, port in service.reachable if transport == "tcp"]
    obstacles = {
        "this daemon has no clear-text listener": not listeners,
        "allowed_migration_peers names who may come, and such a connection shows no name": bool(
            service.config.tls.allowed_migration_peers
        ),
        "it comes by one connection here (--parallel)": options.has(MigrateFlag.PARALLEL),
    }
    for obstacle, there in obstacles.items():
        if there:
            raise errors.OperationUnsupported(
                f"migration without a tunnel from a libvirtd is refused: {obstacle}; use --p2p --tunnelled"
            )
    came_in = session.local_address or ("", 0)
    listener_host, port = came_in if came_in in listeners else listeners[0]
    own = service.hostname if listener_host in WILDCARDS else listener_host
    asked = migration_uri.host(options.migrate_uri) if options.migrate_uri else service.config.migration.host
    host = asked or came_in[0] or own
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _means_itself(host: str) -> bool:
    """Whether every host takes ``host`` for itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith("localhost.")


def _rank(transport: str, preferred: tuple[str, ...]) -> int:
    return preferred.index(transport) if transport in preferred else len(preferred)


def _certified(service: Service, transport: str, host: str) -> str:
    """``host``, or for TLS a name of this host that its certificate has: the source will look."""
    if transport != "tls" or service.security is None:
        return host
    names = [name for name in service.security.names if "*" not in name]
    for candidate in (host, service.hostname):
        if candidate in names:
            return candidate
    return next((name for name in names if not _is_address(name)), host)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def for_ticket(where: ConnectionURI, ticket: str) -> ConnectionURI:
    """The same with the ticket that opens the data path."""
    return where.with_parameters(**{TICKET_PARAMETER: ticket})
