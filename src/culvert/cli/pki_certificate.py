"""Certificates made: an authority's, a host's, a client's. Values in, values out; no file is touched.

What is in them is what libvirt 9.0 wants to see (rpc/virnettlscert.c): basic constraints, key usage with digital
signature and key encipherment, extended key usage for the one purpose.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from culvert.ground import errors

CURVE = ec.SECP256R1
SKEW = timedelta(minutes=10)  # a host whose clock is that late still takes a new certificate
PURPOSES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@ -]{0,62}")


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs: certificate and private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """A private key on P-256, which GnuTLS and OpenSSL both have everywhere."""
    return ec.generate_private_key(CURVE())


def subject(common_name: str, organization: str) -> x509.Name:
    """``O=organization,CN=common_name``. Raises ``errors.InvalidArgument`` for what does not fit in a name."""
    for value in (common_name, organization):
        if not _PLAIN.fullmatch(value) and not _is_address(value):
            raise errors.InvalidArgument(
                f"name '{value}' cannot be used: letters, digits and . _ @ - and blanks, at most 63, are possible"
            )
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def host_names(names: list[str]) -> x509.SubjectAlternativeName:
    """Addresses as addresses, the rest as DNS names. Raises ``errors.InvalidArgument`` naming what is neither."""
    general: list[x509.GeneralName] = []
    for name in names:
        if _is_address(name):
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        elif len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.split(".")):
            general.append(x509.DNSName(name))
        else:
            raise errors.InvalidArgument(f"'{name}' is neither a host name nor an IP address")
    return x509.SubjectAlternativeName(general)


def authority(organization: str, days: int, now: datetime | None = None) -> Authority:
    """A new authority that signs itself."""
    key = new_key()
    name = subject(f"{organization} CA", organization)
    return Authority(_authority_certificate(name, key, days, now), key)


def renewed_authority(old: Authority, days: int, now: datetime | None = None) -> Authority:
    """The same name and key, valid anew: what the old one has signed stays good."""
    return Authority(_authority_certificate(old.certificate.subject, old.key, days, now), old.key)


def _authority_certificate(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, now: datetime | None
) -> x509.Certificate:
    builder = _builder(name, name, key.public_key(), days=days, now=now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(authority=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.sign(key, hashes.SHA256())


def issue(
    by: Authority,
    name: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    *,
    purpose: str,
    days: int,
    alternatives: x509.SubjectAlternativeName | None = None,
    now: datetime | None = None,
) -> x509.Certificate:
    """A certificate for ``purpose`` ("server" or "client"), at most as long valid as its authority's."""
    builder = _builder(
        name, by.certificate.subject, public_key, days=days, now=now, at_most=by.certificate.not_valid_after_utc
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([PURPOSES[purpose]]), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False
    )
    if alternatives is not None:
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(by.key, hashes.SHA256())


def reissue(by: Authority, old: x509.Certificate, days: int, now: datetime | None = None) -> x509.Certificate:
    """The same name, names, key and purpose, valid anew. Raises ``errors.InvalidArgument`` for a foreign one."""
    key = old.public_key()
    purpose = purpose_of(old)
    if not isinstance(key, ec.EllipticCurvePublicKey) or purpose not in PURPOSES:
        raise errors.InvalidArgument("only certificates that 'culvert pki' has made can be renewed")
    return issue(by, old.subject, key, purpose=purpose, days=days, alternatives=alternatives(old), now=now)


def revocations(by: Authority, serials: list[tuple[int, datetime]], now: datetime | None = None) -> bytes:
    """The PEM text of the list of revoked serial numbers and when. It is good for as long as the authority is: an
    old list must not keep every host out."""
    now = now or datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(by.certificate.subject)
    builder = builder.last_update(now - SKEW).next_update(by.certificate.not_valid_after_utc)
    for serial, when in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when).build()
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign(by.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def purpose_of(certificate: x509.Certificate) -> str:
    """ "server", "client" or "authority"; "other" for what is none of them."""
    try:
        if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "authority"
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return "other"
    return next((word for word, purpose in PURPOSES.items() if purpose in usage), "other")


def alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    """The names beside the subject."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def distinguished_name(certificate: x509.Certificate) -> str:
    """The subject as ``allowed_clients`` of the daemon has it: in the certificate's own order."""
    return ",".join(part.rfc4514_string() for part in certificate.subject.rdns)


def _builder(
    name: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    *,
    days: int,
    now: datetime | None,
    at_most: datetime | None = None,
) -> x509.CertificateBuilder:
    now = now or datetime.now(UTC)
    end = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(min(end, at_most) if at_most else end)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        # Of no use with such a key, but libvirt 9.0 refuses a certificate whose critical key usage is without it.
        key_encipherment=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
