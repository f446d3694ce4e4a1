"""Certificate files: what is wrong with one is found before it is used, and said with its name."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from culvert.cli.pki_certificate import new_key
from culvert.ground import errors
from culvert.io import tls_context
from culvert.io.tls_files import Files
from tests.support.pki import Pki


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


def test_good_files(pki: Pki) -> None:
    holder = pki.holder("alpha")
    server = tls_context.server_context(holder.server)
    assert server.verify_mode is ssl.CERT_REQUIRED
    assert server.minimum_version is ssl.TLSVersion.TLSv1_3
    assert server.num_tickets == 0
    client = tls_context.client_context(holder.client, "1.2")
    assert client.check_hostname
    assert client.minimum_version is ssl.TLSVersion.TLSv1_2
    assert tls_context.names(holder.server.cert) == ("127.0.0.1", "alpha", "localhost")


def test_a_client_may_go_without_a_certificate(pki: Pki) -> None:
    files = pki.holder("alpha").client
    files.cert.unlink()
    files.key.unlink()
    tls_context.client_context(files)
    files.ca.unlink()
    with pytest.raises(errors.InvalidArgument, match=r"cacert\.pem does not exist"):
        tls_context.client_context(files)
    assert tls_context.client_context(files, verify=False).verify_mode is ssl.CERT_NONE


def _text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


SPOILT: list[tuple[str, Callable[[Path], object], str]] = [
    ("ca", Path.unlink, r"CA certificate .*/cacert\.pem does not exist: make one with 'culvert pki init'"),
    ("cert", Path.unlink, r"server certificate .*/servercert\.pem does not exist: make one with 'culvert pki host'"),
    ("key", Path.unlink, r"server key .*/serverkey\.pem does not exist"),
    ("ca", _text("rubbish"), r"CA certificate .* cannot be used: there is no certificate in it"),
    ("ca", _text(""), r"CA certificate .* cannot be used"),
    ("cert", _text("rubbish"), r"servercert\.pem and its key .* cannot be used"),
    ("key", _text("rubbish"), r"serverkey\.pem cannot be used"),
]


@pytest.mark.parametrize(("name", "spoil", "words"), SPOILT)
def test_spoilt_files(pki: Pki, name: str, spoil: Callable[[Path], object], words: str) -> None:
    files = pki.holder("alpha").server
    spoil(getattr(files, name))
    with pytest.raises(errors.InvalidArgument, match=words):
        tls_context.server_context(files)


def test_key_of_another_certificate(pki: Pki) -> None:
    files = replace(pki.holder("alpha").server, key=pki.holder("beta").server.key)
    with pytest.raises(errors.InvalidArgument, match="the key does not belong to the certificate"):
        tls_context.server_context(files)


def test_an_encrypted_key_is_refused_and_nobody_is_asked(pki: Pki) -> None:
    files = pki.holder("alpha").server
    encrypted = new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    files.key.write_bytes(encrypted)
    with pytest.raises(errors.InvalidArgument, match="cannot be used"):
        tls_context.server_context(files)


def test_expired(pki: Pki) -> None:
    files = pki.holder("alpha", expired=True).server
    with pytest.raises(errors.InvalidArgument, match=r"servercert\.pem has expired on .*culvert pki renew"):
        tls_context.server_context(files)
    tls_context.server_context(files, sanity=False)


def test_for_the_other_purpose(pki: Pki) -> None:
    holder = pki.holder("alpha")
    files = Files(holder.server.ca, holder.client.cert, holder.client.key)
    with pytest.raises(errors.InvalidArgument, match="not meant for a TLS server"):
        tls_context.server_context(files)


def test_not_an_authority(pki: Pki) -> None:
    holder = pki.holder("alpha")
    with pytest.raises(errors.InvalidArgument, match="not the certificate of an authority"):
        tls_context.server_context(replace(holder.server, ca=holder.client.cert))


def test_a_revocation_list_that_is_named_must_be_there(pki: Pki) -> None:
    files = pki.holder("alpha").server
    tls_context.server_context(files)
    with pytest.raises(errors.InvalidArgument, match=r"revocation list .*absent\.pem does not exist"):
        tls_context.server_context(files.over(crl=str(pki.folder / "absent.pem")))
    rubbish = pki.folder / "rubbish.pem"
    rubbish.write_text("rubbish")
    with pytest.raises(errors.InvalidArgument, match=r"revocation list .*rubbish\.pem cannot be used"):
        tls_context.server_context(files.over(crl=str(rubbish)))
    listed = tls_context.server_context(files.over(crl=str(pki.revoke())))
    assert listed.verify_flags & ssl.VERIFY_CRL_CHECK_LEAF
