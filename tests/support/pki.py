"""Certificates for tests: good ones, and ones with one fault each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from culvert.cli import pki_certificate as certificates
from culvert.io import tls_files
from culvert.io.tls_files import Files

LOCAL = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Holder:
    """A folder with ``cacert.pem`` and certificates; what ``pkipath=`` takes."""

    folder: Path

    @property
    def server(self) -> Files:
        """The files of a listener."""
        return tls_files.in_folder(self.folder, "server")

    @property
    def client(self) -> Files:
        """The files of a client."""
        return tls_files.in_folder(self.folder, "client")

    def config(self, **more: object) -> str:
        """Section [tls] of a daemon that has these files, and more keys."""
        keys: dict[str, object] = {
            "ca": str(self.server.ca),
            "cert": str(self.server.cert),
            "key": str(self.server.key),
            "client_cert": str(self.client.cert),
            "client_key": str(self.client.key),
            **more,
        }
        return "[tls]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in keys.items())


class Pki:
    """An authority and what it signs, all below ``folder``."""

    def __init__(self, folder: Path, organization: str = "test") -> None:
        self.folder = folder
        self._organization = organization
        self._authority = certificates.authority(organization, 1000)
        folder.mkdir(exist_ok=True)

    def holder(
        self,
        name: str,
        names: Sequence[str] = LOCAL,
        *,
        expired: bool = False,
        sides: Sequence[str] = ("server", "client"),
    ) -> Holder:
        """A new holder, or new certificates in the folder of an old one; ``expired``: the certificates are."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        now = datetime.now(UTC) - timedelta(days=20) if expired else None
        for side in sides:
            key = certificates.new_key()
            made = certificates.issue(
                self._authority,
                certificates.subject(name, self._organization),
                key.public_key(),
                purpose=side,
                days=10,
                alternatives=certificates.host_names([name, *names]),
                now=now,
            )
            (folder / f"{side}cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
            (folder / f"{side}key.pem").write_bytes(
                key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            )
        (folder / "cacert.pem").write_bytes(self._authority.certificate.public_bytes(Encoding.PEM))
        return Holder(folder)

    def revoke(self, *revoked: Path) -> Path:
        """A list with the certificates in ``revoked``: its path."""
        now = datetime.now(UTC)
        serials = [(certificate_serial(path), now) for path in revoked]
        path = self.folder / "cacrl.pem"
        path.write_bytes(certificates.revocations(self._authority, serials))
        return path


def certificate_serial(path: Path) -> int:
    """The serial number of the certificate in ``path``."""
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number
