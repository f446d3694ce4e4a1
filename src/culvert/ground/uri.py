"""Connection URIs: ``driver[+transport]://[user@]host[:port]/path?params`` (libvirt docs/uri)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from culvert.ground import errors

TCP_PORT = 16509  # LIBVIRTD_TCP_PORT
TLS_PORT = 16514  # LIBVIRTD_TLS_PORT

TRANSPORTS = ("unix", "tcp", "tls", "ssh")

# What the client keeps for itself; the rest travels inside CONNECT_OPEN's name (remote_driver.c).
CLIENT_PARAMETERS = frozenset(
    {
        *("name", "command", "socket", "auth", "sshauth", "netcat", "keyfile", "pkipath", "known_hosts"),
        *("known_hosts_verify", "tls_priority", "mode", "proxy", "no_sanity", "no_verify", "no_tty", "authfile"),
    }
)


@dataclass(frozen=True, slots=True)
class ConnectionURI:
    """Where a daemon is and how it is reached.

    ``transport`` is one of ``TRANSPORTS``; ``port`` is 0 for unix, and for ssh where the URI names none;
    ``parameters`` keep their order in the text.
    """

    driver: str
    transport: str
    host: str = ""
    port: int = 0
    user: str = ""
    path: str = "/system"
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def socket_path(self) -> str:
        """The UNIX socket to connect to; empty where the URI does not name one."""
        return self.parameters.get("socket", "")

    @property
    def open_name(self) -> str:
        """The ``name`` argument of CONNECT_OPEN: the URI without what only the client needs."""
        rest = {k: v for k, v in self.parameters.items() if k not in CLIENT_PARAMETERS}
        query = f"?{urlencode(rest)}" if rest else ""
        return self.parameters.get("name") or f"{self.driver}://{self.path}{query}"

    def with_parameters(self, **parameters: str) -> ConnectionURI:
        """The same URI with ``parameters`` added or replaced."""
        return replace(self, parameters={**self.parameters, **parameters})

    def without_parameters(self, *names: str) -> ConnectionURI:
        """The same URI without the parameters called ``names``."""
        return replace(self, parameters={k: v for k, v in self.parameters.items() if k not in names})

    def __str__(self) -> str:
        host = quote(self.host, safe=":")
        host = f"[{host}]" if ":" in host else host
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        query = f"?{urlencode(self.parameters, safe='/:')}" if self.parameters else ""
        return f"{self.driver}+{self.transport}://{user}{host}{port}{self.path}{query}"


def parse(text: str) -> ConnectionURI:
    """Read a connection URI.

    Raises ``errors.InvalidArgument`` naming what is wrong with ``text``.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as err:
        raise errors.InvalidArgument(f"connection URI '{text}' cannot be read: {err}") from err
    driver, _, transport = parts.scheme.partition("+")
    if not driver or "://" not in text:
        raise errors.InvalidArgument(f"connection URI '{text}' has no 'driver://' part")
    host = unquote(parts.hostname or "")
    if ":" not in host:
        host = host.lower()  # urlsplit has left alone what follows a "%", which in an IPv6 address names an interface
    elif "[" not in parts.netloc:
        raise errors.InvalidArgument(f"connection URI '{text}' cannot be read: '{host}' is no host")
    transport = transport or ("tls" if host else "unix")
    if transport not in TRANSPORTS:
        raise errors.InvalidArgument(
            f"connection URI '{text}': transport '{transport}' is not one of {', '.join(TRANSPORTS)}"
        )
    if transport != "unix" and not host:
        raise errors.InvalidArgument(f"connection URI '{text}': transport '{transport}' needs a host")
    defaults = {"tcp": TCP_PORT, "tls": TLS_PORT}
    return ConnectionURI(
        driver=driver,
        transport=transport,
        host=host,
        port=port or defaults.get(transport, 0),
        user=unquote(parts.username or ""),
        path=parts.path or "/",
        parameters=dict(parse_qsl(parts.query, keep_blank_values=True)),
    )
