"""TLS settings made from certificate files, and errors that name the file and what to do.

A file of one's own is looked at before it is used, as libvirt does unless it is told ``no_sanity``: an expired
certificate, or one for the other purpose, is found here and not by everybody who connects. Everything here reads
files: call it in a thread.
"""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from culvert.ground import errors
from culvert.io import files as files_io
from culvert.io.tls_files import Files

if TYPE_CHECKING:
    from cryptography import x509

# cryptography takes a fifth of the daemon's start to import, and most daemons' first certificate is read much later:
# it is imported by the functions that need it.

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
DEFAULT_VERSION = "1.3"
PURPOSES = {"server": "1.3.6.1.5.5.7.3.1", "client": "1.3.6.1.5.5.7.3.2"}
"""Object identifiers of extended key usages, of which certificates have those that they are meant for (RFC 5280,
4.2.1.12)."""
ANY_PURPOSE = "2.5.29.37.0"
HOW_TO = {"server": "culvert pki host", "client": "culvert pki client"}


def server_context(files: Files, minimum: str = DEFAULT_VERSION, *, sanity: bool = True) -> ssl.SSLContext:
    """What a listener needs: the client must show a certificate that ``files.ca`` has signed.

    Raises ``errors.InvalidArgument`` naming the file that is missing, unreadable, expired or not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # libvirt's client takes a session ticket for the confirmation byte and gives up (GnuTLS reads "again").
    context.num_tickets = 0
    context.minimum_version = VERSIONS[minimum]
    # A resumed session (TLS 1.2) would come in on a certificate that was looked at long ago.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    _trust(context, files)
    _own(context, files, "server", sanity=sanity)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    files: Files, minimum: str = DEFAULT_VERSION, *, verify: bool = True, sanity: bool = True
) -> ssl.SSLContext:
    """What a connection needs. The server's certificate must be signed by ``files.ca`` and name the host connected
    to, unless ``verify`` is false. Without certificate and key it goes without them, and the server may refuse.

    Raises ``errors.InvalidArgument`` as ``server_context``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = verify
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    context.minimum_version = VERSIONS[minimum]
    if verify:
        _trust(context, files)
    if os.path.exists(files.cert) or os.path.exists(files.key):
        _own(context, files, "client", sanity=sanity)
    return context


def _trust(context: ssl.SSLContext, files: Files) -> None:
    _there(files.ca, "CA certificate", "culvert pki init")
    try:
        context.load_verify_locations(files.ca)
    except (OSError, ValueError) as err:
        raise errors.InvalidArgument(f"CA certificate {files.ca} cannot be used: {_words(err)}") from err
    if files.crl is not None and (files.crl_wanted or os.path.exists(files.crl)):
        _there(files.crl, "revocation list", "culvert pki revoke")
        try:
            context.load_verify_locations(files.crl)
        except (OSError, ValueError) as err:
            raise errors.InvalidArgument(f"revocation list {files.crl} cannot be used: {_words(err)}") from err
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _own(context: ssl.SSLContext, files: Files, side: str, *, sanity: bool) -> None:
    _there(files.cert, f"{side} certificate", HOW_TO[side])
    _there(files.key, f"{side} key", HOW_TO[side])
    try:
        # An encrypted key would make OpenSSL ask on the terminal.
        context.load_cert_chain(files.cert, files.key, password=lambda: b"")
    except (OSError, ValueError) as err:
        raise errors.InvalidArgument(
            f"{side} certificate {files.cert} and its key {files.key} cannot be used: {_words(err)}"
        ) from err
    if sanity:
        check(files, side)


def _there(path: Path, what: str, how_to: str) -> None:
    try:
        with files_io.open_regular(path):
            return
    except FileNotFoundError:
        reason = f"does not exist: make one with '{how_to}', or name another file"
    except OSError as err:
        reason = f"cannot be read: {err.strerror}"
    raise errors.InvalidArgument(f"{what} {path} {reason}")


def check(files: Files, side: str, now: datetime | None = None) -> datetime:
    """Look at one's own certificate as the other end will; until when it will still be found good.

    Raises ``errors.InvalidArgument`` naming the file.
    """
    now = now or datetime.now(UTC)
    own = read(files.cert)
    looked_at = [(own, files.cert)]
    if os.path.exists(files.ca):  # without verification nobody needs it
        looked_at.append((read(files.ca), files.ca))
    for certificate, path in looked_at:
        if now > certificate.not_valid_after_utc:
            raise errors.InvalidArgument(
                f"certificate {path} has expired on {certificate.not_valid_after_utc:%Y-%m-%d}: "
                "make a new one with 'culvert pki renew'"
            )
        if now < certificate.not_valid_before_utc:
            raise errors.InvalidArgument(
                f"certificate {path} is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on: "
                "is the clock right?"
            )
    if not all(_is_authority(certificate) for certificate, path in looked_at if path == files.ca):
        raise errors.InvalidArgument(f"CA certificate {files.ca} is not the certificate of an authority")
    usage = _usage(own)
    if usage is not None and not {PURPOSES[side], ANY_PURPOSE} & {each.dotted_string for each in usage}:
        raise errors.InvalidArgument(
            f"certificate {files.cert} is not meant for a TLS {side}: make one with '{HOW_TO[side]}'"
        )
    return min(certificate.not_valid_after_utc for certificate, _ in looked_at)


def read(path: Path) -> x509.Certificate:
    """The first certificate in a PEM file. Raises ``errors.InvalidArgument`` naming it."""
    from cryptography import x509

    try:
        with files_io.open_regular(path) as file:
            return x509.load_pem_x509_certificate(file.read())
    except (OSError, ValueError) as err:
        raise errors.InvalidArgument(f"certificate {path} cannot be read: {_words(err)}") from err


def names(path: Path) -> tuple[str, ...]:
    """The host names and addresses that the certificate in ``path`` is for; raises as ``read``."""
    from cryptography import x509

    try:
        found = read(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (
        *(str(address) for address in found.get_values_for_type(x509.IPAddress)),
        *found.get_values_for_type(x509.DNSName),
    )


def _is_authority(certificate: x509.Certificate) -> bool:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _usage(certificate: x509.Certificate) -> x509.ExtendedKeyUsage | None:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None


# OpenSSL's names for what people meet, in words for them. The rest keeps OpenSSL's own words.
REASONS = {
    "WRONG_VERSION_NUMBER": "the other end does not speak TLS: is one side's port a clear-text one (qemu+tcp)?",
    "HTTP_REQUEST": "the other end speaks HTTP, not TLS",
    "UNSUPPORTED_PROTOCOL": "the other end has no TLS version that is allowed here",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the other end allows none of the TLS versions that are allowed here",
    "NO_SHARED_CIPHER": "no cipher is known to both ends",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client has shown no certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the other end wants a certificate, and this side has shown none",
    "TLSV1_ALERT_UNKNOWN_CA": "the other end does not know the authority that has signed this side's certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the other end says that this side's certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the other end says that this side's certificate has been revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the other end does not accept this side's certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the other end does not accept this side's certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the other end says that this side's certificate is for another purpose",
    "TLSV1_ALERT_ACCESS_DENIED": "the other end does not let this side in",
    "TLSV1_ALERT_DECRYPT_ERROR": "the other end could not check this side's signature: key and certificate differ",
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "NO_START_LINE": "it is not in PEM form",
    "NO_CERTIFICATE_OR_CRL_FOUND": "there is no certificate in it",
}


def explain(error: Exception) -> str:
    """What went wrong in TLS, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the other end's certificate is not accepted: {error.verify_message.rstrip('.')}"
    return _words(error)


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return REASONS.get(error.reason) or error.reason.replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
