"""The two sides as configured: reload, lists, parameters of the URI."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from culvert.ground import errors, uri
from culvert.io.tls_identity import Identity
from culvert.io.tls_side import ClientSide, ServerSide
from tests.support.pki import Pki


def test_reload_takes_new_files_and_keeps_the_old_context_when_they_are_bad(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pki = Pki(tmp_path)
    files = pki.holder("alpha").server
    side = ServerSide(files)
    first = side.context
    pki.holder("alpha", ["10.9.9.9"])
    assert side.reload()
    second = side.context
    assert second is not first
    assert "10.9.9.9" in side.names
    files.cert.write_text("rubbish")
    assert not side.reload()
    assert side.context is second
    assert str(files.cert) in caplog.text
    assert "the old ones stay in use" in caplog.text


def test_admission(tmp_path: Path) -> None:
    files = Pki(tmp_path).holder("alpha").server
    ServerSide(files).admit(None)
    side = ServerSide(files, allowed_clients=["O=test,CN=a*"])
    side.admit(Identity("O=test,CN=alpha"))
    with pytest.raises(errors.AuthenticationFailed, match="'O=test,CN=beta' matches nothing in allowed_clients"):
        side.admit(Identity("O=test,CN=beta"))
    with pytest.raises(errors.AuthenticationFailed):
        side.admit(None)


def test_parameters_of_the_uri(tmp_path: Path) -> None:
    folder = Pki(tmp_path).holder("alpha").folder
    base = f"qemu+tls://h/system?pkipath={folder}"
    side = ClientSide()
    assert side.context(uri.parse(base)).verify_mode is ssl.CERT_REQUIRED
    assert side.context(uri.parse(f"{base}&no_verify=0")).verify_mode is ssl.CERT_REQUIRED
    assert side.context(uri.parse(f"{base}&no_verify=1")).verify_mode is ssl.CERT_NONE
    with pytest.raises(errors.InvalidArgument, match="no_verify is 'yes'"):
        side.context(uri.parse(f"{base}&no_verify=yes"))
    with pytest.raises(errors.ArgumentUnsupported, match="tls_priority"):
        side.context(uri.parse(f"{base}&tls_priority=NORMAL"))


def test_no_sanity(tmp_path: Path) -> None:
    folder = Pki(tmp_path).holder("alpha", expired=True).folder
    where = uri.parse(f"qemu+tls://h/system?pkipath={folder}")
    with pytest.raises(errors.InvalidArgument, match="has expired"):
        ClientSide().context(where)
    ClientSide().context(where.with_parameters(no_sanity="1"))
    ClientSide(sanity=False).context(where)


def test_hints_name_the_file(tmp_path: Path) -> None:
    holder = Pki(tmp_path).holder("alpha")
    where = uri.parse(f"qemu+tls://h/system?pkipath={holder.folder}")
    assert str(holder.client.cert) in ClientSide().hint(where)
    holder.client.cert.unlink()
    assert "does not exist" in ClientSide().hint(where)
    assert str(holder.client.cert) in ClientSide(files=holder.client).hint(uri.parse("qemu+tls://h/system"))
