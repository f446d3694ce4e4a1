"""The real virsh changes what is said of a domain, marks it to start with the host, presses its keys."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from guests import domain_xml
from tests.support import generation
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.virsh import virsh
from tests.support.wait import wait_for

URI = "http://example.org/notes"


def defined(host: DaemonProcess, folder: Path, name: str = "t") -> str:
    virsh("define", str(domain_xml.tiny_guest(folder, name).write_xml()), uri=host.uri).expect()
    return name


def test_description_and_title(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    name = defined(host_a, folder)
    assert "No description for domain" in virsh("desc", name, uri=uri).expect()
    virsh("desc", name, "two words", uri=uri).expect()
    virsh("desc", "--title", name, "a title", uri=uri).expect()
    assert virsh("desc", name, uri=uri).expect().strip() == "two words"
    assert "a title" in virsh("list", "--all", "--title", uri=uri).expect()
    assert "can't contain newlines" in virsh("desc", "--title", name, "a\nb", uri=uri).err
    virsh("start", "--paused", name, uri=uri).expect()
    virsh("desc", name, "only now", "--live", uri=uri).expect()
    assert virsh("desc", name, uri=uri).expect().strip() == "only now"
    assert virsh("desc", name, "--config", uri=uri).expect().strip() == "two words"
    host_a.restart()
    assert virsh("desc", name, uri=uri).expect().strip() == "only now"
    virsh("destroy", name, uri=uri).expect()
    assert virsh("desc", name, uri=uri).expect().strip() == "two words"
    virsh("desc", "--title", name, "", uri=uri).expect()
    assert "<title>" not in virsh("dumpxml", name, uri=uri).expect()


def test_metadata_of_a_program(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    name = defined(host_a, folder)
    missing = virsh("metadata", name, URI, uri=uri)
    assert missing.ok is not generation.NO_METADATA_IS_AN_ERROR.here
    assert missing.ok or "Requested metadata element is not present" in missing.err
    virsh("metadata", name, URI, "--key", "n", "--set", "<note to='me'>call <b>her</b></note>", uri=uri).expect()
    assert virsh("metadata", name, URI, uri=uri).expect().strip() == '<note to="me">call <b>her</b></note>'
    assert f'<n:note xmlns:n="{URI}" to="me">' in virsh("dumpxml", name, uri=uri).expect()
    virsh("metadata", name, URI + "2", "--key", "m", "--set", "<other/>", uri=uri).expect()
    virsh("metadata", name, URI, "--key", "n", "--set", "<new/>", uri=uri).expect()
    assert virsh("metadata", name, URI, uri=uri).expect().strip() == "<new/>"
    assert not virsh("metadata", name, URI, "--key", "n", "--set", "<broken", uri=uri).ok
    virsh("metadata", name, URI, "--remove", uri=uri).expect()
    removed = virsh("metadata", name, URI, uri=uri)
    assert not removed.out.strip()
    assert removed.ok is not generation.NO_METADATA_IS_AN_ERROR.here
    assert virsh("metadata", name, URI + "2", uri=uri).expect().strip() == "<other/>"


def test_autostart(host_a: DaemonProcess, folder: Path) -> None:
    uri = host_a.uri
    for name in ("yes", "no"):
        defined(host_a, folder, name)
    virsh("autostart", "yes", uri=uri).expect()
    assert re.search(r"Autostart: +enable", virsh("dominfo", "yes", uri=uri).expect())
    assert virsh("list", "--all", "--autostart", "--name", uri=uri).expect().split() == ["yes"]
    assert virsh("list", "--all", "--no-autostart", "--name", uri=uri).expect().split() == ["no"]
    # The daemon has been started in this boot of the host already: a restart starts nobody.
    host_a.restart()
    assert virsh("list", "--all", "--autostart", "--name", uri=uri).expect().split() == ["yes"]
    time.sleep(0.5)
    assert virsh("list", "--name", uri=uri).expect().split() == []
    # The host has been booted since.
    host_a.stop()
    (host_a.root / "run" / "autostarted").write_text("another boot\n")
    host_a.start()
    wait_for(lambda: virsh("list", "--name", uri=uri).expect().split() == ["yes"], "it is started")
    virsh("destroy", "yes", uri=uri).expect()
    virsh("autostart", "--disable", "yes", uri=uri).expect()
    assert re.search(r"Autostart: +disable", virsh("dominfo", "yes", uri=uri).expect())
    virsh("autostart", "yes", uri=uri).expect()
    virsh("undefine", "yes", uri=uri).expect()
    defined(host_a, folder, "yes")
    assert re.search(r"Autostart: +disable", virsh("dominfo", "yes", uri=uri).expect())


def test_a_failing_autostart_does_not_stop_the_next(host_a: DaemonProcess, folder: Path) -> None:
    for name in ("a-broken", "b-good"):
        virsh("autostart", defined(host_a, folder, name), uri=host_a.uri).expect()
    (folder / "a-broken.img").unlink()
    host_a.stop()
    (host_a.root / "run" / "autostarted").unlink()
    host_a.start()
    wait_for(
        lambda: virsh("list", "--name", uri=host_a.uri).expect().split() == ["b-good"], "the good one is started"
    )
    host_a.wait_logged("a-broken cannot be started with the host")


def test_a_transient_domain_has_no_autostart(host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        assert "transient" in virsh("autostart", guest.name, uri=host_a.uri).err
        result = virsh("desc", guest.name, "later", "--config", uri=host_a.uri)
        assert "transient domains do not have any persistent config" in result.err


def test_keys(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        virsh("send-key", guest.name, "KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_DELETE", uri=uri).expect()
        virsh("send-key", guest.name, "--codeset", "qnum", "--holdtime", "10", "30", uri=uri).expect()
        assert "code set 8 is not supported" in virsh("send-key", guest.name, "--codeset", "win32", "65", uri=uri).err
        assert "cannot translate keycode 240" in virsh("send-key", guest.name, "240", uri=uri).err
        guest.watch.wait_verified()
        virsh("inject-nmi", guest.name, uri=uri).expect()


def test_shutdown_by_an_agent_that_is_not_there(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        for command in ("shutdown", "reboot"):
            result = virsh(command, "--mode", "agent", guest.name, uri=uri)
            assert "QEMU guest agent is not configured" in result.err
        for asked in ("domhostname", "domtime", "domfsfreeze", "domfsthaw", "domfsinfo", "domfstrim"):
            assert "QEMU guest agent is not configured" in virsh(asked, guest.name, uri=uri).err
        result = virsh("domifaddr", "--source", "agent", guest.name, uri=uri)
        assert "QEMU guest agent is not configured" in result.err
        virsh("domifaddr", guest.name, uri=uri).expect()
        assert "not configured" in virsh("qemu-agent-command", guest.name, '{"execute":"guest-ping"}', uri=uri).err


def test_file_systems_by_an_agent_that_has_not_come(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    channel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
    guest = domain_xml.tiny_guest(folder, "g")
    guest = replace(guest, domain=replace(guest.domain, devices=channel))
    virsh("define", str(guest.write_xml()), uri=uri).expect()
    for command in ("domfsfreeze", "domfsthaw", "domfsinfo", "domfstrim"):
        assert "domain is not running" in virsh(command, "g", uri=uri).err
    virsh("start", "g", uri=uri).expect()
    for command in ("domfsfreeze", "domfsthaw", "domfsinfo", "domfstrim"):
        assert "Guest agent is not responding: QEMU guest agent is not connected" in virsh(command, "g", uri=uri).err


CARD = "<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>"


@pytest.mark.skipif(not generation.AUTOSTART_ONCE.here, reason="this virsh has no such options")
def test_the_next_boot_alone(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    """That it does what it says is in ``test_host_restart``, whatever the virsh."""
    name = defined(host_a, folder)
    assert re.search(r"^Autostart Once: +disable$", virsh("dominfo", name, uri=uri).expect(), re.MULTILINE)
    virsh("autostart", "--once", name, uri=uri).expect()
    about = virsh("dominfo", name, uri=uri).expect()
    assert re.search(r"^Autostart: +disable$", about, re.MULTILINE)
    assert re.search(r"^Autostart Once: +enable$", about, re.MULTILINE)
    virsh("autostart", "--once", "--disable", name, uri=uri).expect()
    assert re.search(r"^Autostart Once: +disable$", virsh("dominfo", name, uri=uri).expect(), re.MULTILINE)
    screen = "<graphics type='vnc' autoport='yes'/><video><model type='vga'/></video>"
    with running_tiny(host_a, folder, "v", devices=screen) as guest:
        # QEMU is asked, and this one has no certificates: its words differ from version to version.
        refused = virsh("domdisplay-reload", guest.name, uri=uri).err
        assert "unable to execute QEMU command 'display-reload'" in refused
    refused = virsh("domthrottlegroupset", name, "t", "--total-bytes-sec", "1000", uri=uri).err
    assert "this function is not supported by the connection driver: virDomainSetThrottleGroup" in refused


@pytest.mark.skipif(not generation.ANNOUNCES.here, reason="this virsh has no such command")
def test_a_card_is_announced(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    """What goes out is in ``drivers/test_cards``."""
    with running_tiny(host_a, folder, devices=CARD) as guest:
        virsh("domifannounce", guest.name, uri=uri).expect()
        some = ("--initial", "1", "--max", "2", "--rounds", "3", "--step", "1")
        virsh("domifannounce", guest.name, "52:54:00:00:00:01", *some, uri=uri).expect()
        assert "'vnet9' is not a known interface" in virsh("domifannounce", guest.name, "vnet9", uri=uri).err
        guest.watch.wait_verified()
