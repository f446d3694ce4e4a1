"""A daemon whose folder is deeper than the path of a UNIX socket may be long (unix(7): 108 bytes)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from guests import domain_xml, tiny
from tests.support.daemon import DaemonProcess
from tests.support.guest import SMALL, running_tiny, state_of
from tests.support.terminal import CTRL_RIGHT_BRACKET, Terminal
from tests.support.virsh import virsh

DEEP = Path(*["a-folder-with-a-long-name"] * 6)
CHANNEL = (
    "<channel type='unix'><source mode='bind'/><target type='virtio' name='org.example.0'/></channel>"
    "<video><model type='vga'/></video><graphics type='vnc' port='-1'/>"
)


class FarDaemon(DaemonProcess):
    """A daemon that virsh reaches by TCP alone: its own UNIX socket's path is too long for libvirt."""

    @property
    def uri(self) -> str:
        return self.tcp_uri


@contextlib.contextmanager
def far_host(folder: Path, name: str) -> Iterator[FarDaemon]:
    """A running daemon far below ``folder``."""
    root = folder / name / DEEP
    root.mkdir(parents=True)
    assert len(str(root)) > 150
    with FarDaemon(root, name=f"host_{name}") as daemon:
        yield daemon


def test_everything_works_below_a_long_path(folder: Path) -> None:
    with (
        far_host(folder, "a") as host_a,
        far_host(folder, "b") as host_b,
        running_tiny(host_a, folder, devices=CHANNEL) as guest,
    ):
        assert (host_a.socket).is_socket()
        assert "org.example.0" in virsh("dumpxml", guest.name, uri=host_a.uri).expect()
        picture = folder / "picture.png"
        virsh("screenshot", guest.name, str(picture), uri=host_a.uri).expect()
        assert picture.read_bytes().startswith(b"\x89PNG")
        host_a.restart(kill=True)
        guest.assert_runs_only_on(host_a, host_b)
        for source, destination in ((host_a, host_b), (host_b, host_a)):
            virsh("migrate", "--live", "--p2p", guest.name, destination.tcp_uri, uri=source.uri).expect()
            guest.assert_runs_only_on(destination, source)
            source.assert_no_leftovers()
        virsh("migrate", "--live", guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        guest.assert_runs_only_on(host_b, host_a)
        with Terminal(host_b.uri, "console", guest.name, "--devname", "serial1") as terminal:
            terminal.wait_console()
            terminal.press("v")
            terminal.wait_for("verify ok")
            terminal.press(CTRL_RIGHT_BRACKET)
            assert terminal.finish() == 0
        virsh("destroy", guest.name, uri=host_b.uri).expect()
        host_b.assert_no_leftovers()


def test_console_on_a_socket_with_a_long_path_is_refused_by_its_path(folder: Path) -> None:
    """QEMU itself binds the socket of a serial port, at the path the user has named."""
    with far_host(folder, "a") as host:
        path = host.root / "serial.sock"
        image = tiny.write_image(folder / "t.img", SMALL)
        serial = domain_xml.Serial("unix", path)
        domain = domain_xml.DomainXML("t", SMALL.memory_mib * 1024, kernel=image, serials=(serial,))
        xml = folder / "t.xml"
        xml.write_text(domain.text())
        result = virsh("create", str(xml), uri=host.uri)
        assert not result.ok
        assert str(path) in result.err or "too long" in result.err, result
        assert state_of("t", host) == ""
        host.assert_no_leftovers()
