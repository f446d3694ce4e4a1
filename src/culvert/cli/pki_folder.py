"""A folder with an authority and what it has signed, one folder a host or client, ready to be copied there::

    cacert.pem  cacrl.pem  private/cakey.pem
    hosts/NAME/    cacert.pem servercert.pem serverkey.pem clientcert.pem clientkey.pem [cacrl.pem]
    clients/NAME/  cacert.pem clientcert.pem clientkey.pem [cacrl.pem]

Keys are 0600 in folders of 0700 from the first byte on. Nothing is ever overwritten but by a renewal, and then whole.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from culvert.cli import pki_certificate as certificates
from culvert.cli.pki_certificate import Authority
from culvert.ground import errors

CERTIFICATE_MODE = 0o644
KEY_MODE = 0o600
FOLDER_MODE = 0o700
CA, CRL = "cacert.pem", "cacrl.pem"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has certificates here: ``kind`` is "hosts" or "clients"."""

    kind: str
    name: str
    folder: Path

    def certificates(self) -> Iterator[Path]:
        """Its certificate files, server before client."""
        for side in ("server", "client"):
            path = self.folder / f"{side}cert.pem"
            if path.exists():
                yield path


class Folder:
    """The PKI below ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ca = path / CA
        self.ca_key = path / "private" / "cakey.pem"
        self.crl = path / CRL

    def init(self, organization: str, days: int) -> Path:
        """Make the authority; its certificate's path. Raises ``InvalidArgument`` when there is one already."""
        for path in (self.ca, self.ca_key):
            if path.exists():
                raise errors.InvalidArgument(f"{path} exists already and is not overwritten")
        made = certificates.authority(organization, days)
        self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        self.ca_key.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
        _write_new(self.ca_key, _key_text(made.key), KEY_MODE)
        _write_new(self.ca, _text(made.certificate), CERTIFICATE_MODE)
        return self.ca

    def authority(self) -> Authority:
        """Who signs. Raises ``InvalidArgument`` saying what is missing and what to do."""
        if not self.ca_key.exists():
            raise errors.InvalidArgument(f"there is no authority in {self.path}: make one with 'culvert pki init'")
        key = load_pem_private_key(self.ca_key.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise errors.InvalidArgument(f"{self.ca_key} is not a key that 'culvert pki' has made")
        return Authority(read(self.ca), key)

    def add(self, kind: str, wanted: list[list[str]], days: int) -> list[Holder]:
        """Certificates for each of ``wanted``, a list of names of which the first is the holder's.

        All or none: raises ``InvalidArgument`` naming one that exists already or a name that cannot be used.
        """
        by = self.authority()
        organization = by.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value
        ready: list[tuple[Holder, Path]] = []
        try:
            for names in wanted:
                holder = Holder(kind, names[0], self.path / kind / names[0])
                ready.append((holder, self._prepare(by, holder, names, str(organization), days)))
            for holder, temporary in ready:
                os.rename(temporary, holder.folder)
        finally:
            for _, temporary in ready:
                shutil.rmtree(temporary, ignore_errors=True)
        return [holder for holder, _ in ready]

    def _prepare(self, by: Authority, holder: Holder, names: list[str], organization: str, days: int) -> Path:
        if holder.folder.exists():
            raise errors.InvalidArgument(
                f"{holder.folder} exists already and is not overwritten; 'culvert pki renew {holder.name}' makes its "
                "certificates valid anew"
            )
        is_host = holder.kind == "hosts"
        subject = certificates.subject(holder.name, organization)
        alternatives = certificates.host_names(names) if is_host else None
        parent = holder.folder.parent
        parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".", dir=parent))  # 0700
        for side in ("server", "client") if is_host else ("client",):
            key = certificates.new_key()
            made = certificates.issue(
                by, subject, key.public_key(), purpose=side, days=days, alternatives=alternatives
            )
            _write_new(temporary / f"{side}key.pem", _key_text(key), KEY_MODE)
            _write_new(temporary / f"{side}cert.pem", _text(made), CERTIFICATE_MODE)
        _write_new(temporary / CA, _text(by.certificate), CERTIFICATE_MODE)
        if self.crl.exists():
            _write_new(temporary / CRL, self.crl.read_bytes(), CERTIFICATE_MODE)
        return temporary

    def holders(self) -> list[Holder]:
        """Everybody who has certificates here, hosts first."""
        return [
            Holder(kind, path.name, path)
            for kind in ("hosts", "clients")
            if (self.path / kind).is_dir()
            for path in sorted((self.path / kind).iterdir())
            if not path.name.startswith(".")
        ]

    def find(self, names: list[str]) -> list[Holder]:
        """The holders of those names. Raises ``InvalidArgument`` naming one that is not there."""
        known = self.holders()
        unknown = set(names) - {holder.name for holder in known}
        if unknown:
            raise errors.InvalidArgument(f"there is no host and no client '{sorted(unknown)[0]}' in {self.path}")
        return [holder for holder in known if holder.name in names]

    def renew(self, holders: list[Holder], days: int) -> list[Path]:
        """New certificates with the same keys and names; the files written."""
        by = self.authority()
        made = [
            (path, _text(certificates.reissue(by, read(path), days)))
            for holder in holders
            for path in holder.certificates()
        ]
        for path, text in made:
            _replace(path, text)
        return [path for path, _ in made]

    def renew_authority(self, days: int) -> list[Path]:
        """A new certificate of the authority with the same key, here and with everybody; the files written."""
        text = _text(certificates.renewed_authority(self.authority(), days).certificate)
        return self._spread(CA, text)

    def revoke(self, holders: list[Holder]) -> list[Path]:
        """Put the certificates of ``holders`` on the list, here and with everybody; the files written."""
        by = self.authority()
        serials = dict(self.revoked())
        now = datetime.now(UTC)
        for holder in holders:
            for path in holder.certificates():
                serials.setdefault(read(path).serial_number, now)
        return self._spread(CRL, certificates.revocations(by, sorted(serials.items())))

    def revoked(self) -> dict[int, datetime]:
        """Serial numbers that are revoked, and when they were."""
        if not self.crl.exists():
            return {}
        found = x509.load_pem_x509_crl(self.crl.read_bytes())
        return {each.serial_number: each.revocation_date_utc for each in found}

    def _spread(self, name: str, text: bytes) -> list[Path]:
        paths = [self.path / name, *(holder.folder / name for holder in self.holders())]
        for path in paths:
            _replace(path, text)
        return paths


def read(path: Path) -> x509.Certificate:
    """The certificate in ``path``. Raises ``InvalidArgument`` naming it."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as err:
        raise errors.InvalidArgument(f"certificate {path} cannot be read: {err}") from err


def _text(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write_new(path: Path, text: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def _replace(path: Path, text: bytes) -> None:
    """The whole new file or the whole old one, whatever happens."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    _write_new(temporary, text, CERTIFICATE_MODE)
    os.replace(temporary, path)
