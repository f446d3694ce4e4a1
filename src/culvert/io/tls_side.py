"""The two sides of TLS as the daemon and its clients are configured for them."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from culvert.ground import errors
from culvert.ground.uri import ConnectionURI
from culvert.io import blocking, tls_context, tls_files
from culvert.io.tls_files import Files
from culvert.io.tls_identity import Identity, allowed

log = logging.getLogger(__name__)

READ_TIMEOUT = 30.0  # seconds for a listener's files to be read again
MOST = 16
"""Contexts that are kept: the folder is a client's to choose."""


class ServerSide:
    """A listener's certificates, and who may come in. ``reload`` takes new files for the handshakes that follow.

    ``context`` is what the next handshake uses; ``names`` are the host names and addresses in the certificate. Making
    one reads the files: do it in a thread. It raises ``errors.InvalidArgument`` naming the file that cannot be used.
    """

    def __init__(
        self,
        files: Files,
        *,
        minimum: str = tls_context.DEFAULT_VERSION,
        sanity: bool = True,
        allowed_clients: Sequence[str] = (),
    ) -> None:
        self.files = files
        self._minimum = minimum
        self._sanity = sanity
        self._allowed = tuple(allowed_clients)
        self._reloading = asyncio.Lock()
        self.context, self.names = self._load()

    def _load(self) -> tuple[ssl.SSLContext, tuple[str, ...]]:
        context = tls_context.server_context(self.files, self._minimum, sanity=self._sanity)
        return context, tls_context.names(self.files.cert)

    async def reload(self) -> bool:
        """Read the files again. Files that cannot be used change nothing and are named in the log."""
        async with self._reloading:  # what was read last is what stays
            try:
                async with asyncio.timeout(READ_TIMEOUT):
                    self.context, self.names = await blocking.left_behind(self._load, name="certificates")
            except (errors.InvalidArgument, TimeoutError) as err:
                reason = str(err) or f"not read within {READ_TIMEOUT:g} s"
                log.error("certificates not reloaded, the old ones stay in use: %s", reason)
                return False
        log.info("certificates reloaded cert=%s", self.files.cert)
        return True

    def admit(self, identity: Identity | None) -> None:
        """Raises ``errors.AuthenticationFailed`` naming a client that ``allowed_clients`` does not let in."""
        if not allowed(identity, self._allowed):
            raise errors.AuthenticationFailed(
                f"client '{identity}' matches nothing in allowed_clients of section [tls] of the configuration"
            )


@dataclass(frozen=True, slots=True)
class _Made:
    """A context made of files that were as ``stamps`` says, whose certificates are good until then."""

    stamps: tuple[tls_files.Stamp, ...]
    good_until: datetime
    context: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class ClientSide:
    """How connections are made: ``files`` None means the usual places; ``pkipath=`` in a URI goes before both."""

    files: Files | None = None
    minimum: str = tls_context.DEFAULT_VERSION
    sanity: bool = True
    _made: dict[tuple[Files, bool, bool], _Made] = field(default_factory=dict, init=False, repr=False, compare=False)

    async def prepare(self, uri: ConnectionURI) -> ssl.SSLContext:
        """``context``, in a thread that is left behind when the caller is cancelled: the caller has the deadline."""
        return await blocking.left_behind(lambda: self.context(uri), name="certificates")

    def context(self, uri: ConnectionURI) -> ssl.SSLContext:
        """For a connection to ``uri``, with the parameters ``pkipath``, ``no_verify`` and ``no_sanity`` it has.

        The files are looked at each time, and read once per change: call it in a thread. Raises
        ``errors.InvalidArgument`` naming the file that cannot be used, ``errors.ArgumentUnsupported`` for
        ``tls_priority``, whose language is another TLS library's.
        """
        if "tls_priority" in uri.parameters:
            raise errors.ArgumentUnsupported(
                f"connection URI '{uri}': tls_priority is not supported; TLS {self.minimum} and newer is used"
            )
        files, verify = self.chosen(uri), not _is_set(uri, "no_verify")
        sanity = self.sanity and not _is_set(uri, "no_sanity")
        stamps = tls_files.stamps(files)  # before they are read: what changes meanwhile is read again
        made = self._made.get((files, verify, sanity))
        if made is not None and made.stamps == stamps and datetime.now(UTC) < made.good_until:
            return made.context
        context = tls_context.client_context(files, self.minimum, verify=verify, sanity=sanity)
        if tls_files.settled(stamps, time.time()):
            own = sanity and os.path.exists(files.cert)
            until = tls_context.check(files, "client") if own else datetime.max.replace(tzinfo=UTC)
            if len(self._made) >= MOST:
                self._made.clear()
            self._made[files, verify, sanity] = _Made(stamps, until, context)
        return context

    def chosen(self, uri: ConnectionURI) -> Files:
        """The files used for ``uri``."""
        return tls_files.for_uri(uri, self.files)

    def hint(self, uri: ConnectionURI) -> str:
        """What may be the reason when the server refuses this side. Looks at files: call it in a thread."""
        files = self.chosen(uri)
        if os.path.exists(files.cert):
            return f" (this side's certificate: {files.cert})"
        return f" (this side has no certificate: {files.cert} does not exist; 'culvert pki client' makes one)"


def _is_set(uri: ConnectionURI, name: str) -> bool:
    """Whether a parameter that libvirt reads as a number is there and not 0. Raises ``InvalidArgument``."""
    value = uri.parameters.get(name, "0")
    if not value.isdecimal():
        raise errors.InvalidArgument(f"connection URI '{uri}': {name} is '{value}', where 0 or 1 belongs")
    return int(value) != 0
