"""The two sides of TLS as the daemon and its clients are configured for them."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from culvert.ground import errors
from culvert.ground.uri import ConnectionURI
from culvert.io import tls_context, tls_files
from culvert.io.tls_files import Files
from culvert.io.tls_identity import Identity, allowed

log = logging.getLogger(__name__)


class ServerSide:
    """A listener's certificates, and who may come in. ``reload`` takes new files for the handshakes that follow.

    ``context`` is what the next handshake uses; ``names`` are the host names and addresses in the certificate. Making
    one raises ``errors.InvalidArgument`` naming the file that cannot be used.
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
        self.context, self.names = self._load()

    def _load(self) -> tuple[ssl.SSLContext, tuple[str, ...]]:
        context = tls_context.server_context(self.files, self._minimum, sanity=self._sanity)
        return context, tls_context.names(self.files.cert)

    def reload(self) -> bool:
        """Read the files again. Files that cannot be used change nothing and are named in the log."""
        try:
            self.context, self.names = self._load()
        except errors.InvalidArgument as err:
            log.error("certificates not reloaded, the old ones stay in use: %s", err)
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
class ClientSide:
    """How connections are made: ``files`` None means the usual places; ``pkipath=`` in a URI goes before both."""

    files: Files | None = None
    minimum: str = tls_context.DEFAULT_VERSION
    sanity: bool = True

    def context(self, uri: ConnectionURI) -> ssl.SSLContext:
        """For a connection to ``uri``, with the parameters ``pkipath``, ``no_verify`` and ``no_sanity`` it has.

        The files are read anew each time. Raises ``errors.InvalidArgument`` naming the file that cannot be used,
        ``errors.ArgumentUnsupported`` for ``tls_priority``, whose language is another TLS library's.
        """
        if "tls_priority" in uri.parameters:
            raise errors.ArgumentUnsupported(
                f"connection URI '{uri}': tls_priority is not supported; TLS {self.minimum} and newer is used"
            )
        return tls_context.client_context(
            self.chosen(uri),
            self.minimum,
            verify=not _is_set(uri, "no_verify"),
            sanity=self.sanity and not _is_set(uri, "no_sanity"),
        )

    def chosen(self, uri: ConnectionURI) -> Files:
        """The files used for ``uri``."""
        return tls_files.for_uri(uri, self.files)

    def hint(self, uri: ConnectionURI) -> str:
        """What may be the reason when the server refuses this side."""
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
