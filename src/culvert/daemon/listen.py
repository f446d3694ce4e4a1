"""Where the daemon listens, as an operator writes it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from culvert.ground import errors, uri

DEFAULT_PORTS = {"tcp": uri.TCP_PORT, "tls": uri.TLS_PORT}


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on, ``transport`` "tcp" or "tls"; port 0 takes any free one."""

    transport: str
    host: str
    port: int


def parse(text: str, *, allow_clear_text: bool) -> Address:
    """Read ``tls://HOST:PORT`` or ``tcp://HOST:PORT``.

    Raises ``InvalidArgument`` for anything else, and for a tcp address beyond loopback that the configuration has not
    allowed: what comes over tcp:// is neither encrypted nor authenticated.
    """
    try:
        parts = urlsplit(text)
        port = DEFAULT_PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError as err:
        raise errors.InvalidArgument(f"listen address '{text}' cannot be read: {err}") from err
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.path.strip("/"):
        raise errors.InvalidArgument(f"listen address '{text}' is not of the form tls://HOST:PORT or tcp://HOST:PORT")
    loopback = parts.hostname in ("localhost", "::1") or parts.hostname.startswith("127.")
    if parts.scheme == "tcp" and not loopback and not allow_clear_text:
        raise errors.InvalidArgument(
            f"listen address '{text}' is clear-text and reachable from outside: nothing on it is encrypted or "
            "authenticated. Use tls://, or set allow_clear_text = true in section [daemon] of the configuration"
        )
    return Address(parts.scheme, parts.hostname, port)
