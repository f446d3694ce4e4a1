"""Streams that a person sees: the console, both ways, and the picture of the screen, by the real virsh."""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from guests import domain_xml, tiny
from tests.support.daemon import DaemonProcess
from tests.support.guest import SMALL, running_tiny, state_of
from tests.support.terminal import CTRL_C, CTRL_RIGHT_BRACKET, Terminal
from tests.support.virsh import virsh
from tests.support.wait import wait_for

VGA = "<video><model type='vga'/></video>"


def talking_guest(uri: str, folder: Path, kind: str = "pty", name: str = "talk", devices: str = "") -> Path:
    """A tiny guest that says everything on its console; returns the path of its XML. It runs."""
    serial = domain_xml.Serial(kind, folder / f"{name}.sock" if kind == "unix" else None)
    image = tiny.write_image(folder / f"{name}.img", SMALL)
    memory = SMALL.memory_mib * 1024 + 8
    domain = domain_xml.DomainXML(name, memory, kernel=image, serials=(serial,), devices=devices)
    path = folder / f"{name}.xml"
    path.write_text(domain.text())
    virsh("create", str(path), uri=uri).expect()
    return path


def console(uri: str, *options: str, name: str = "talk") -> Terminal:
    """``virsh console``, not connected yet."""
    return Terminal(uri, "console", name, *options)


@pytest.mark.parametrize("kind", ["pty", "unix"])
def test_console_both_ways_and_again(uri: str, host_a: DaemonProcess, folder: Path, kind: str) -> None:
    talking_guest(uri, folder, kind)
    for _ in range(2):
        with console(uri) as terminal:
            terminal.wait_console()
            terminal.wait_for("culvert-guest count=", 20)
            terminal.press("s")
            terminal.wait_for("status pages=4096 ")
            terminal.press("v")
            terminal.wait_for("verify ok pages=4096 bad=0")
            terminal.press(CTRL_C)  # is the guest's, not virsh's
            terminal.wait_for("commands: v verify")
            terminal.press(CTRL_RIGHT_BRACKET)
            assert terminal.finish() == 0
    assert state_of("talk", host_a) == "running"


def test_console_of_another_device(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        with Terminal(uri, "console", guest.name, "--devname", "serial1") as terminal:
            terminal.wait_console()
            terminal.press("v")
            terminal.wait_for("verify ok pages=4096")
            terminal.press("s" * 20)
            terminal.wait_for("status pages=", 20)
            terminal.press(CTRL_RIGHT_BRACKET)
            assert terminal.finish() == 0
        for options, word in (
            (("--devname", "serial0"), "not using a PTY"),  # it is a file
            ((), "not using a PTY"),
            (("--devname", "serial9"), "serial9"),
        ):
            with Terminal(uri, "console", guest.name, *options) as terminal:
                assert terminal.finish() == 1
                assert word in terminal.shown, (options, terminal.shown)
        guest.watch.wait_verified()


def test_console_of_a_domain_that_does_not_run(uri: str, folder: Path) -> None:
    virsh("define", str(domain_xml.tiny_guest(folder, "idle").write_xml()), uri=uri).expect()
    with Terminal(uri, "console", "idle") as terminal:
        assert terminal.finish() == 1
        assert "The domain is not running" in terminal.shown


def test_second_console_is_refused_or_takes_over(uri: str, folder: Path) -> None:
    talking_guest(uri, folder)
    with console(uri) as first:
        first.wait_for("culvert-guest count=", 3)
        for options in ((), ("--safe",)):
            with console(uri, *options) as second:
                assert second.finish() == 1
                assert "Active console session exists for this domain" in second.shown
        first.wait_for("culvert-guest count=", first.shown.count("culvert-guest count=") + 20)
        with console(uri, "--force") as third:
            third.wait_console()
            first.finish()
            third.press("v")
            third.wait_for("verify ok")
            third.press(CTRL_RIGHT_BRACKET)
            assert third.finish() == 0
    with console(uri, "--safe") as last:
        last.wait_for("culvert-guest count=", 3)


def test_virsh_killed_in_a_console_leaves_it_free(uri: str, folder: Path) -> None:
    talking_guest(uri, folder)
    with console(uri) as first:
        first.wait_for("culvert-guest count=", 3)
        first.process.kill()
    with console(uri) as second:
        second.wait_for("culvert-guest count=", 3)
        second.press(CTRL_RIGHT_BRACKET)
        assert second.finish() == 0


@pytest.mark.parametrize("kind", ["pty", "unix"])
@pytest.mark.parametrize("end", ["destroy", "power off"])
def test_guest_ends_while_its_console_is_open(
    uri: str, host_a: DaemonProcess, folder: Path, kind: str, end: str
) -> None:
    talking_guest(uri, folder, kind)
    with console(uri) as terminal:
        terminal.wait_for("culvert-guest count=", 3)
        if end == "destroy":
            virsh("destroy", "talk", uri=uri).expect()
        else:
            terminal.press("p")
        terminal.finish()
    wait_for(lambda: state_of("talk", host_a) == "", "the guest is gone")
    host_a.assert_no_leftovers()


def test_a_reader_that_does_not_read_does_not_stop_the_guest_or_the_daemon(
    uri: str, host_a: DaemonProcess, folder: Path
) -> None:
    with running_tiny(host_a, folder) as guest, console(uri, "--devname", "serial1", name=guest.name) as terminal:
        terminal.wait_console()
        # Nobody reads the terminal while the guest answers all of this.
        for _ in range(20):
            terminal.press("s" * 20)
            assert virsh("domstate", guest.name, uri=uri).expect().strip() == "running"
        guest.watch.wait_verified()
        terminal.press("v")
        terminal.wait_for("verify ok")
        terminal.press(CTRL_RIGHT_BRACKET)
        assert terminal.finish() == 0


def test_daemon_ends_while_a_console_is_open(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    talking_guest(uri, folder)
    with console(uri) as terminal:
        terminal.wait_for("culvert-guest count=", 3)
        assert host_a.stop() == 0
        terminal.finish()
    host_a.start()
    with console(uri) as terminal:
        terminal.wait_for("culvert-guest count=", 3)
        terminal.press("v")
        terminal.wait_for("verify ok")


# ---- screenshot ----------------------------------------------------------------------------------------------------


def read_png(path: Path) -> tuple[int, int]:
    """Width and height of a whole and well-formed picture (PNG specification, 5 and 11.2)."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: list[tuple[bytes, bytes]] = []
    offset = 8
    while offset < len(data):
        (length,) = struct.unpack_from(">I", data, offset)
        kind, body = data[offset + 4 : offset + 8], data[offset + 8 : offset + 8 + length]
        (check,) = struct.unpack_from(">I", data, offset + 8 + length)
        assert zlib.crc32(kind + body) == check
        chunks.append((kind, body))
        offset += 12 + length
    assert chunks[0][0] == b"IHDR"
    assert chunks[-1] == (b"IEND", b"")
    width, height = struct.unpack_from(">II", chunks[0][1])
    pixels = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    assert len(pixels) == height * (1 + width * 3)  # 8 bits each of red, green, blue; a filter byte per row
    return width, height


def test_screenshot(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    talking_guest(uri, folder, devices=VGA)
    picture = folder / "picture.png"
    told = virsh("screenshot", "talk", str(picture), uri=uri).expect()
    assert "image/png" in told
    width, height = read_png(picture)
    assert width >= 640
    assert height >= 400
    result = virsh("screenshot", "talk", str(folder / "none.png"), "--screen", "7", uri=uri)
    assert "screen 7" in result.err, result
    paths = [folder / f"{number}.png" for number in range(6)]
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda path: virsh("screenshot", "talk", str(path), uri=uri), paths))
    for result, path in zip(results, paths, strict=True):
        result.expect()
        assert read_png(path)[0] >= 640
    assert list((host_a.root / "run").rglob("screenshot*")) == []
    assert state_of("talk", host_a) == "running"


def test_screenshot_of_a_guest_without_a_screen(uri: str, folder: Path) -> None:
    talking_guest(uri, folder)
    result = virsh("screenshot", "talk", str(folder / "none.png"), uri=uri)
    assert not result.ok
    assert "no screens" in result.err
