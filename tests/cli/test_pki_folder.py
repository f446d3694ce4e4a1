"""A PKI on disk: layout, permissions, and that nothing is overwritten."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from culvert.cli.pki_folder import Folder, read
from culvert.ground import errors


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "pki")
    made.init("Example", 100)
    return made


def everything(folder: Folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder.path)): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()
    }


def test_layout_and_permissions(folder: Folder) -> None:
    folder.add("hosts", [["alpha"], ["beta", "10.0.0.2"]], 10)
    folder.add("clients", [["admin"]], 10)
    host = {"cacert.pem", "servercert.pem", "serverkey.pem", "clientcert.pem", "clientkey.pem"}
    client = {"cacert.pem", "clientcert.pem", "clientkey.pem"}
    assert set(everything(folder)) == {
        "cacert.pem",
        "private/cakey.pem",
        *(f"hosts/{name}/{file}" for name in ("alpha", "beta") for file in host),
        *(f"clients/admin/{file}" for file in client),
    }
    for path in [folder.path, *folder.path.rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600 if path.name.endswith("key.pem") else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_a_second_authority_is_refused(folder: Folder) -> None:
    before = everything(folder)
    with pytest.raises(errors.InvalidArgument, match=r"cacert\.pem exists already"):
        folder.init("Other", 100)
    folder.ca.unlink()
    with pytest.raises(errors.InvalidArgument, match=r"cakey\.pem exists already"):
        folder.init("Other", 100)
    folder.ca.write_bytes(before["cacert.pem"])
    assert everything(folder) == before


@pytest.mark.parametrize("bad", ["alpha", "a b", "../up"])
def test_all_hosts_or_none(folder: Folder, bad: str) -> None:
    folder.add("hosts", [["alpha"]], 10)
    before = everything(folder)
    with pytest.raises(errors.InvalidArgument):
        folder.add("hosts", [["beta"], [bad], ["gamma"]], 10)
    assert everything(folder) == before
    assert [path.name for path in (folder.path / "hosts").iterdir()] == ["alpha"]


def test_without_an_authority(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument, match="make one with 'culvert pki init'"):
        Folder(tmp_path).add("hosts", [["alpha"]], 10)
    assert list(tmp_path.iterdir()) == []


def test_renewal_keeps_keys_and_changes_certificates(folder: Folder) -> None:
    [alpha, _] = folder.add("hosts", [["alpha"], ["beta"]], 10)
    before = everything(folder)
    written = folder.renew([alpha], 20)
    after = everything(folder)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"hosts/alpha/servercert.pem", "hosts/alpha/clientcert.pem"}
    assert {str(path.relative_to(folder.path)) for path in written} == changed
    assert set(before) == set(after)


def test_renewal_of_the_authority_reaches_everybody(folder: Folder) -> None:
    [alpha] = folder.add("hosts", [["alpha"]], 10)
    old = read(folder.ca)
    folder.renew_authority(200)
    new = read(folder.ca)
    assert new.public_key() == old.public_key()
    assert new.not_valid_after_utc > old.not_valid_after_utc
    assert read(alpha.folder / "cacert.pem") == new


def test_revocation_reaches_everybody_and_is_kept(folder: Folder) -> None:
    [alpha, beta] = folder.add("hosts", [["alpha"], ["beta"]], 10)
    folder.revoke([alpha])
    first = folder.revoked()
    assert set(first) == {read(path).serial_number for path in alpha.certificates()}
    folder.revoke([beta])
    assert len(folder.revoked()) == 4
    assert first.items() <= folder.revoked().items()
    assert (beta.folder / "cacrl.pem").read_bytes() == folder.crl.read_bytes()
    [gamma] = folder.add("hosts", [["gamma"]], 10)
    assert (gamma.folder / "cacrl.pem").exists()


def test_who_is_not_there(folder: Folder) -> None:
    with pytest.raises(errors.InvalidArgument, match="no host and no client 'nobody'"):
        folder.find(["nobody"])
