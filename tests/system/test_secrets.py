"""The password of a guest's screen goes wherever the guest goes, and is shown to nobody on the way."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from guests.domain_xml import tiny_guest
from tests.support.daemon import DaemonProcess
from tests.support.guest import SMALL, running_tiny
from tests.support.virsh import virsh

PASSWORD = "s3cr3t-3"
SCREEN = (
    f"<graphics type='vnc' autoport='yes' listen='127.0.0.1' passwd='{PASSWORD}'/><video><model type='vga'/></video>"
)
P2P = ("--live", "--p2p", "--tunnelled", "--unsafe", "--persistent")

Way = Callable[[DaemonProcess, DaemonProcess, Path], DaemonProcess]


def _migrated(*options: str) -> Way:
    def move(source: DaemonProcess, there: DaemonProcess, folder: Path) -> DaemonProcess:
        virsh("migrate", *options, "tiny", there.tcp_uri, uri=source.uri).expect()
        return there

    return move


def _as_asked(source: DaemonProcess, there: DaemonProcess, folder: Path) -> DaemonProcess:
    file = folder / "asked.xml"
    file.write_text(virsh("dumpxml", "tiny", "--migratable", "--security-info", uri=source.uri).expect())
    return _migrated(*P2P, "--xml", str(file), "--persistent-xml", str(file))(source, there, folder)


def _offline(source: DaemonProcess, there: DaemonProcess, folder: Path) -> DaemonProcess:
    virsh("destroy", "tiny", uri=source.uri).expect()
    virsh("migrate", "--offline", "--persistent", "tiny", there.tcp_uri, uri=source.uri).expect()
    virsh("start", "tiny", uri=there.uri).expect()
    return there


def _saved(source: DaemonProcess, there: DaemonProcess, folder: Path) -> DaemonProcess:
    file = str(folder / "tiny.save")
    virsh("save", "tiny", file, uri=source.uri).expect()
    shown = virsh("save-image-dumpxml", file, uri=source.uri).expect()
    assert PASSWORD not in shown
    assert PASSWORD in virsh("save-image-dumpxml", file, "--security-info", uri=source.uri).expect()
    assert not virsh("-r", "save-image-dumpxml", file, uri=source.uri).ok
    virsh("restore", file, uri=source.uri).expect()
    return source


def _managed_save(source: DaemonProcess, there: DaemonProcess, folder: Path) -> DaemonProcess:
    virsh("managedsave", "tiny", uri=source.uri).expect()
    assert PASSWORD not in virsh("managedsave-dumpxml", "tiny", uri=source.uri).expect()
    assert PASSWORD not in virsh("-r", "managedsave-dumpxml", "tiny", uri=source.uri).expect()
    assert "forbidden" in virsh("-r", "managedsave-dumpxml", "tiny", "--security-info", uri=source.uri).err
    virsh("start", "tiny", uri=source.uri).expect()
    return source


def _restarted(source: DaemonProcess, there: DaemonProcess, folder: Path) -> DaemonProcess:
    source.restart(kill=True)
    return source


WAYS = {
    "p2p": _migrated(*P2P),
    "client": _migrated("--live", "--unsafe", "--persistent"),
    "xml": _as_asked,
    "offline": _offline,
    "save": _saved,
    "managed-save": _managed_save,
    "restart": _restarted,
}


@pytest.fixture
def talkative(folder: Path) -> Iterator[tuple[DaemonProcess, DaemonProcess]]:
    """Two daemons that log everything."""
    for name in ("a", "b"):
        (folder / name).mkdir()
    a, b = (
        DaemonProcess(folder / name, name=f"host_{name}", arguments=["--log-level", "debug"]) for name in ("a", "b")
    )
    with a, b:
        yield a, b


@pytest.mark.parametrize("way", WAYS)
def test_a_password_goes_along_and_is_not_shown(
    talkative: tuple[DaemonProcess, DaemonProcess], folder: Path, way: str
) -> None:
    with running_tiny(talkative[0], folder, persistent=True, devices=SCREEN):
        host = WAYS[way](*talkative, folder)
        assert "Auth: vnc" in virsh("qemu-monitor-command", "tiny", "--hmp", "info vnc", uri=host.uri).expect()
        for inactive in ((), ("--inactive",)):
            whole = virsh("dumpxml", "tiny", "--security-info", *inactive, uri=host.uri).expect()
            assert f"passwd='{PASSWORD}'" in whole
            assert PASSWORD not in virsh("dumpxml", "tiny", *inactive, uri=host.uri).expect()
            assert not virsh("-r", "dumpxml", "tiny", "--security-info", *inactive, uri=host.uri).ok
            assert PASSWORD not in virsh("-r", "dumpxml", "tiny", *inactive, uri=host.uri).expect()
    assert "call session" in talkative[0].log  # everything is in it, but for what the calls say
    for each in talkative:
        assert PASSWORD not in each.log_tail() + each.log
        assert not [str(path) for path in each.root.rglob("*") if path.is_file() and _readable_by_others(path)]


def _readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o077) and PASSWORD.encode() in path.read_bytes()


def _is_let_in(port: int, password: str) -> bool:
    """Whether a VNC server takes the password (RFC 6143, 7.1 and 7.2.2)."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as server, server.makefile("rwb", 0) as talk:
        talk.write(talk.read(12))
        assert 2 in talk.read(talk.read(1)[0]), "it asks for a password"
        talk.write(bytes([2]))
        key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode().ljust(8, b"\0"))
        encryptor = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()
        talk.write(encryptor.update(talk.read(16)) + encryptor.finalize())
        return talk.read(4) == b"\0\0\0\0"


@pytest.mark.parametrize(("until", "let_in"), [("2011-05-31T16:11:22", False), ("2099-05-31T16:11:22", True)])
def test_a_password_is_valid_as_long_as_it_says(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path, until: str, let_in: bool
) -> None:
    screen = SCREEN.replace("passwd=", f"passwdValidTo='{until}' passwd=")
    with running_tiny(host_a, folder, devices=screen):
        assert _is_let_in(_port(host_a), PASSWORD) is let_in
        assert not _is_let_in(_port(host_a), "another")
        virsh("migrate", *P2P[:-1], "tiny", host_b.tcp_uri, uri=host_a.uri).expect()
        assert _is_let_in(_port(host_b), PASSWORD) is let_in


def _port(host: DaemonProcess) -> int:
    return 5900 + int(virsh("vncdisplay", "tiny", uri=host.uri).expect().strip().rpartition(":")[2])


def test_a_time_that_is_none_is_refused(host_a: DaemonProcess, folder: Path) -> None:
    screen = SCREEN.replace("passwd=", "passwdValidTo='2011-15-31T16:11:22' passwd=")
    path = tiny_guest(folder, "tiny", SMALL, devices=screen).write_xml()
    assert "cannot parse password validity time" in virsh("define", str(path), uri=host_a.uri).err
