"""The two sides as configured: reload, lists, parameters of the URI."""

from __future__ import annotations

import os
import ssl
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from culvert.ground import errors, uri
from culvert.io import tls_context, tls_side
from culvert.io.tls_identity import Identity
from culvert.io.tls_side import ClientSide, ServerSide
from tests.support.pki import Pki


async def test_reload_takes_new_files_and_keeps_the_old_context_when_they_are_bad(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pki = Pki(tmp_path)
    files = pki.holder("alpha").server
    side = ServerSide(files)
    first = side.context
    pki.holder("alpha", ["10.9.9.9"])
    assert await side.reload()
    second = side.context
    assert second is not first
    assert "10.9.9.9" in side.names
    files.cert.write_text("rubbish")
    assert not await side.reload()
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


def test_files_are_read_once_per_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Pki(tmp_path).holder("alpha")
    where = uri.parse(f"qemu+tls://h/system?pkipath={holder.folder}")
    side = ClientSide()
    assert side.context(where) is not side.context(where)  # so new that a change might not show
    for path in holder.folder.iterdir():
        os.utime(path, (1e9, 1e9))
    first = side.context(where)
    assert side.context(where) is first
    assert side.context(where.with_parameters(no_verify="1")) is not first
    assert side.context(where.with_parameters(no_sanity="1")) is not first
    holder.client.cert.write_bytes(holder.client.cert.read_bytes())
    assert side.context(where) is not first
    os.utime(holder.client.cert, (1e9, 1e9))
    second = side.context(where)
    assert side.context(where) is second
    assert holder.client.crl is not None
    holder.client.crl.write_text("rubbish")
    with pytest.raises(errors.InvalidArgument, match="revocation list"):
        side.context(where)


def test_what_is_kept_goes_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Pki(tmp_path).holder("alpha")
    for path in holder.folder.iterdir():
        os.utime(path, (1e9, 1e9))
    where = uri.parse(f"qemu+tls://h/system?pkipath={holder.folder}")
    side = ClientSide()
    side.context(where)
    later = SimpleNamespace(now=lambda zone: datetime(9000, 1, 1, tzinfo=zone))
    monkeypatch.setattr(tls_context, "datetime", later)
    monkeypatch.setattr(tls_side, "datetime", later)
    with pytest.raises(errors.InvalidArgument, match="has expired"):
        side.context(where)


async def test_a_file_that_is_none_holds_up_nobody(tmp_path: Path) -> None:
    for name in ("cacert.pem", "clientcert.pem", "clientkey.pem", "cacrl.pem"):
        folder = Pki(tmp_path / name).holder("alpha").folder
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
        with pytest.raises(errors.InvalidArgument, match=rf"{name} cannot be read: it is not a regular file"):
            await ClientSide().prepare(uri.parse(f"qemu+tls://h/system?pkipath={folder}"))


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
