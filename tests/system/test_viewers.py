"""Who looks at a guest by SPICE, with a real client, follows it to another host."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from guests import domain_xml
from tests.support import viewer
from tests.support.daemon import DaemonProcess
from tests.support.guest import SMALL, running_tiny
from tests.support.pki import Pki
from tests.support.virsh import virsh
from tests.support.wait import wait_for

pytestmark = viewer.here


@pytest.mark.parametrize("options", [("--p2p", "--tunnelled"), ()], ids=["p2p", "client"])
def test_it_is_at_the_destination_when_the_guest_is(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, options: tuple[str, ...]
) -> None:
    with running_tiny(host_a, folder, machine="q35", devices=viewer.SCREEN) as guest:
        before = viewer.port_of(host_a, guest.name)
        with viewer.viewer(before, folder) as said:
            wait_for(lambda: f"opened {before}" in said.read_text(), "the viewer to be connected")
            virsh("migrate", "--live", *options, guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
            guest.assert_runs_only_on(host_b, host_a)
            after = viewer.port_of(host_b, guest.name)
            wait_for(lambda: viewer.has_followed(said, before, after), "the viewer to have followed")
        host_a.assert_no_leftovers()


def test_an_encrypted_screen(folder: Path) -> None:
    """By the certificates of the configuration, and by nothing else; the viewer follows to an encrypted one too."""
    holder = Pki(folder / "pki").holder("127.0.0.1")
    certificates = folder / "spice"
    certificates.mkdir()
    for name, path in (
        ("ca-cert", holder.server.ca),
        ("server-cert", holder.server.cert),
        ("server-key", holder.server.key),
    ):
        shutil.copy(path, certificates / f"{name}.pem")
    config = f'[qemu]\nspice_tls = "{certificates}"\n'
    secure = viewer.SCREEN.replace("autoport='yes'", "autoport='yes' defaultMode='secure'")
    roots = [folder / name for name in "ab"]
    for root in roots:
        root.mkdir()
    with (
        DaemonProcess(roots[0], name="host-a", config=config) as host_a,
        DaemonProcess(roots[1], name="host-b", config=config) as host_b,
        running_tiny(host_a, folder, machine="q35", devices=secure) as guest,
    ):
        before = viewer.port_of(host_a, guest.name)
        assert f"tlsPort='{before}'" in virsh("dumpxml", guest.name, uri=host_a.uri).expect()
        with viewer.viewer(before, folder, str(certificates / "ca-cert.pem")) as said:
            wait_for(lambda: f"opened {before}" in said.read_text(), "the viewer to be connected")
            virsh("migrate", "--live", "--p2p", guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
            after = viewer.port_of(host_b, guest.name)
            wait_for(lambda: viewer.has_followed(said, before, after), "the viewer to have followed")


def test_without_certificates_nothing_is_encrypted(host_a: DaemonProcess, folder: Path) -> None:
    secure = viewer.SCREEN.replace("autoport='yes'", "autoport='yes' defaultMode='secure'")
    made = domain_xml.tiny_guest(folder, "secret", SMALL, machine="q35", devices=secure)
    refused = virsh("create", str(made.write_xml()), uri=host_a.uri)
    assert "spice TLS is disabled" in refused.err
    host_a.assert_no_leftovers()
