"""The migration URI that a person or a manager names: which address the data takes; pure.

The port in it is passed over: data comes to the destination's one port. Source: qemu/qemu_migration.c,
qemuMigrationAnyParseURI, which takes the old spelling ``tcp:HOST:PORT`` as well (Pacemaker's is that one).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from culvert.ground import errors

_OLD = "tcp:"
_NEW = "tcp://"


def spelled(text: str) -> str:
    """``text`` in the spelling of today, ``tcp://HOST[:PORT]``."""
    return _NEW + text.removeprefix(_OLD) if text.startswith(_OLD) and not text.startswith(_NEW) else text


def host(text: str) -> str:
    """The host that ``text`` names. Raises ``errors.InvalidArgument`` where it names none."""
    try:
        parts = urlsplit(spelled(text))
        well_formed = parts.scheme == "tcp" and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:  # brackets that are not an IPv6 address, a port that is no number
        well_formed = False
    if not well_formed:
        raise errors.InvalidArgument(
            f"migration URI '{text}' is not of the form tcp://HOST; the port is always the daemon's own"
        )
    return parts.hostname or ""
