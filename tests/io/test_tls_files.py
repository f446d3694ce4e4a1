"""Where certificates are looked for."""

from __future__ import annotations

from pathlib import Path

from culvert.ground import uri
from culvert.io import tls_files
from culvert.io.tls_files import Files


def test_the_systems_places_are_libvirts() -> None:
    assert tls_files.default("server", uid=0) == Files(
        Path("/etc/pki/CA/cacert.pem"),
        Path("/etc/pki/libvirt/servercert.pem"),
        Path("/etc/pki/libvirt/private/serverkey.pem"),
        Path("/etc/pki/CA/cacrl.pem"),
    )


def test_a_users_own_come_first_where_there_are_any(tmp_path: Path) -> None:
    assert tls_files.default("client", uid=1000, home=tmp_path) == tls_files.of_system("client")
    own = tmp_path / ".pki/libvirt"
    own.mkdir(parents=True)
    (own / "clientcert.pem").touch()
    assert tls_files.default("client", uid=1000, home=tmp_path) == tls_files.in_folder(own, "client")
    assert tls_files.default("client", uid=0, home=tmp_path) == tls_files.of_system("client")


def test_pkipath_goes_before_the_configuration(tmp_path: Path) -> None:
    configured = Files(Path("a"), Path("b"), Path("c"))
    assert tls_files.for_uri(uri.parse("qemu+tls://h/system"), configured) == configured
    found = tls_files.for_uri(uri.parse(f"qemu+tls://h/system?pkipath={tmp_path}"), configured)
    assert found == tls_files.in_folder(tmp_path, "client")
    assert (found.ca, found.cert, found.key, found.crl) == (
        tmp_path / "cacert.pem",
        tmp_path / "clientcert.pem",
        tmp_path / "clientkey.pem",
        tmp_path / "cacrl.pem",
    )


def test_what_is_named_replaces_the_usual_place() -> None:
    usual = tls_files.of_system("server")
    assert usual.over() == usual
    named = usual.over(ca="/x/ca.pem", crl="/x/crl.pem")
    assert (named.ca, named.cert, named.crl, named.crl_wanted) == (
        Path("/x/ca.pem"),
        usual.cert,
        Path("/x/crl.pem"),
        True,
    )
