"""The real virsh and libvirt-python are told of everything else that happens: caused by real guests and devices."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import boot_sector, generation
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.libvirt_python import libvirt_python
from tests.support.terminal import Terminal
from tests.support.virsh import virsh
from tests.support.wait import wait_for

MEMORY_KIB = 16 * 1024 + 8


def domain(folder: Path, devices: str, *, machine: str = "pc", balloon: str = "<memballoon model='none'/>") -> str:
    """The path of the XML of a guest called g."""
    path = folder / "g.xml"
    path.write_text(
        f"<domain type='qemu'><name>g</name><memory unit='KiB'>{MEMORY_KIB}</memory>"
        f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os><features><acpi/></features>"
        f"<devices><controller type='usb' model='none'/>{devices}{balloon}</devices></domain>"
    )
    return str(path)


@contextlib.contextmanager
def listening(host: DaemonProcess, uri: str, *options: str) -> Iterator[Terminal]:
    """``virsh event``, once its last registration has reached the daemon."""
    before = host.log.count(" registered")
    wanted = generation.EVENTS.here if "--all" in options else 1
    with Terminal(uri, "event", "--loop", *options) as terminal:
        wait_for(lambda: host.log.count(" registered") >= before + wanted, "the registration")
        yield terminal


def test_reboot_and_metadata(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    virsh("create", domain(folder, ""), uri=uri).expect()
    with listening(host_a, uri, "--all") as told:
        virsh("reset", "g", uri=uri).expect()
        told.wait_for("event 'reboot' for domain 'g'")
        virsh("desc", "g", "words", "--live", uri=uri).expect()
        told.wait_for("event 'metadata-change' for domain 'g': type description, uri <null>")
        virsh("metadata", "g", "http://x/", "--key", "k", "--set", "<a/>", "--live", uri=uri).expect()
        told.wait_for("event 'metadata-change' for domain 'g': type element, uri http://x/")


def test_clock(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with listening(host_a, uri, "--event", "rtc-change") as told:
        virsh("create", domain(folder, boot_sector.disk(folder, "g", boot_sector.SET_CLOCK)), uri=uri).expect()
        told.wait(re.compile(r"event 'rtc-change' for domain 'g': -?\d+").search, "the clock", 60)


@pytest.mark.parametrize("action", ["none", "pause", "reset"])
def test_watchdog(uri: str, host_a: DaemonProcess, folder: Path, action: str) -> None:
    devices = boot_sector.disk(folder, "g", boot_sector.BARK) + f"<watchdog model='ib700' action='{action}'/>"
    with listening(host_a, uri, "--all") as told:
        virsh("create", domain(folder, devices), uri=uri).expect()
        told.wait_for(f"event 'watchdog' for domain 'g': {action}", timeout=60)
        if action == "pause":
            told.wait_for("event 'lifecycle' for domain 'g': Suspended Watchdog")


def test_balloon(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    balloon = "<memballoon model='virtio'><address type='pci' slot='4'/></memballoon>"
    disk = boot_sector.disk(folder, "g", boot_sector.GIVE_BACK)
    left = MEMORY_KIB - boot_sector.GIVEN_BACK_KIB
    with listening(host_a, uri, "--event", "balloon-change") as told:
        virsh("create", domain(folder, disk, balloon=balloon), uri=uri).expect()
        told.wait_for(f"event 'balloon-change' for domain 'g': {left}KiB", timeout=60)
    assert re.search(rf"Used memory: +{left} KiB", virsh("dominfo", "g", uri=uri).expect())
    assert f"actual {left}" in virsh("dommemstat", "g", uri=uri).expect()


def broken_image(path: Path) -> None:
    """A qcow2 image whose first cluster cannot be read, unless it is written to: a wrong L1 entry."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q 0 64k", path], check=True, stdout=subprocess.DEVNULL)
    with path.open("r+b") as file:
        file.seek(40)  # l1_table_offset (docs/interop/qcow2.txt)
        (table,) = struct.unpack(">Q", file.read(8))
        file.seek(table)
        (entry,) = struct.unpack(">Q", file.read(8))
        file.seek(table)
        file.write(struct.pack(">Q", entry | 0x200))


@pytest.mark.parametrize(("policy", "action"), [("stop", "pause"), ("report", "report")])
def test_io_error(uri: str, host_a: DaemonProcess, folder: Path, policy: str, action: str) -> None:
    image = folder / "broken.qcow2"
    broken_image(image)
    disk = (
        f"<disk type='file'><driver name='qemu' type='qcow2' error_policy='{policy}'/><source file='{image}'/>"
        "<target dev='vda' bus='virtio'/><readonly/></disk>"
    )
    with listening(host_a, uri, "--all") as told:
        virsh("create", domain(folder, disk), uri=uri).expect()
        told.wait_for(f"event 'io-error' for domain 'g': {image} (virtio-disk0) {action}", timeout=60)
        named = generation.IO_ERROR_EVENT.here
        told.wait_for(f"event '{named}' for domain 'g': {image} (virtio-disk0) {action} due to ")
        if action == "pause":
            told.wait_for("event 'lifecycle' for domain 'g': Suspended I/O Error")
            assert "vda: unspecified error" in virsh("domblkerror", "g", uri=uri).expect()


def test_graphics(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    virsh("create", domain(folder, "<graphics type='vnc' listen='127.0.0.1'/>"), uri=uri).expect()
    display = virsh("vncdisplay", "g", uri=uri).expect().strip()
    port = 5900 + int(display.rpartition(":")[2])
    with listening(host_a, uri, "--event", "graphics") as told:
        with socket.create_connection(("127.0.0.1", port)) as viewer:
            told.wait_for("event 'graphics' for domain 'g': connect local[IPv4 127.0.0.1 ")
            # RFC 6143: version, security type None, shared
            for answer, size in ((b"RFB 003.008\n", 12), (b"\1", 2), (b"\1", 4)):
                viewer.recv(size)
                viewer.sendall(answer)
            told.wait_for("event 'graphics' for domain 'g': initialize")
        told.wait_for("event 'graphics' for domain 'g': disconnect")
        assert re.search(rf"connect local\[IPv4 127.0.0.1 {port}\] remote\[IPv4 127.0.0.1 \d+\] none", told.shown)


def test_tray(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    cdrom = "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
    virsh("create", "--paused", domain(folder, cdrom, machine="q35"), uri=uri).expect()
    with listening(host_a, uri, "--event", "tray-change") as told:
        for verb, word in (("open", "opened"), ("close", "closed")):
            command = f'{{"execute":"blockdev-{verb}-tray","arguments":{{"id":"sata0-0-0"}}}}'
            virsh("qemu-monitor-command", "g", command, uri=uri).expect()
            told.wait_for(f"event 'tray-change' for domain 'g' disk sata0-0-0: {word}")
            assert ("tray='open'" in virsh("dumpxml", "g", uri=uri).expect()) == (verb == "open")


def test_what_qemu_says_itself(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    virsh("create", domain(folder, ""), uri=uri).expect()

    @contextlib.contextmanager
    def heard(*options: str) -> Iterator[Terminal]:
        before = host_a.log.count(" registered")
        with Terminal(uri, "qemu-monitor-event", "g", "--loop", *options) as terminal:
            wait_for(lambda: host_a.log.count(" registered") > before, "the registration")
            yield terminal

    with (
        heard() as everything,
        heard("--event", "sto.", "--regex", "--no-case") as stops,
        heard("--event", "RESUME") as ends,
    ):
        virsh("suspend", "g", uri=uri).expect()
        virsh("resume", "g", uri=uri).expect()
        for terminal, words in ((everything, ["STOP", "RESUME"]), (stops, ["STOP"]), (ends, ["RESUME"])):
            for word in words:
                terminal.wait(re.compile(rf"event {word} at [\d.]+ for domain 'g'").search, word)
        assert "RESUME" not in stops.shown
        assert "STOP" not in ends.shown
    result = virsh("qemu-monitor-event", "--event", "(", "--regex", uri=uri)
    assert "failed to compile regex" in result.err


def test_python_callbacks_come_and_go(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    xml = domain(folder, "")
    script = """
    import threading, time
    libvirt.virEventRegisterDefaultImpl()
    def loop():
        while True:
            libvirt.virEventRunDefaultImpl()
    threading.Thread(target=loop, daemon=True).start()
    connection = libvirt.open(sys.argv[1])
    told = []
    def lifecycle(connection, domain, event, detail, opaque): told.append((opaque, domain.name(), event, detail))
    def reboot(connection, domain, opaque): told.append((opaque, domain.name()))
    def until(wanted):
        deadline = time.monotonic() + 30
        while wanted not in told:
            assert time.monotonic() < deadline, (wanted, told)
            time.sleep(0.01)
    first = connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, "all")
    domain = connection.createXML(open(sys.argv[2]).read())
    until(("all", "g", libvirt.VIR_DOMAIN_EVENT_STARTED, 0))
    second = connection.domainEventRegisterAny(domain, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, reboot, "one")
    third = connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, reboot, "any")
    domain.reset()
    until(("one", "g")); until(("any", "g"))
    connection.domainEventDeregisterAny(second)
    del told[:]
    domain.reset()
    until(("any", "g"))
    assert ("one", "g") not in told, told
    for kind in range(2, 27):
        connection.domainEventRegisterAny(None, kind, lambda *args: None, None)
    connection.networkEventRegisterAny(None, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE, lambda *args: None, None)
    connection.storagePoolEventRegisterAny(None, 0, lambda *args: None, None)
    connection.nodeDeviceEventRegisterAny(None, libvirt.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE, lambda *args: None, None)
    connection.secretEventRegisterAny(None, libvirt.VIR_SECRET_EVENT_ID_LIFECYCLE, lambda *args: None, None)
    connection.domainEventDeregisterAny(third)
    domain.destroy()
    until(("all", "g", libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED))
    print("done")
    """
    assert libvirt_python(script, uri, xml).strip() == "done"


def test_a_migration(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest, listening(host_a, host_a.uri, "--all") as told:
        virsh("migrate", "--live", "--p2p", guest.name, host_b.tcp_uri, uri=host_a.uri).expect()
        # QEMU 11.1 does not tell of the first one.
        told.wait(re.compile(r"event 'migration-iteration' for domain 'tiny': iteration: '[12]'").search, "a pass")
        told.wait_for("event 'job-completed' for domain 'tiny':")
        told.wait(re.compile(r"memory_total: \d+").search, "the job's statistics")
        told.wait_for("event 'lifecycle' for domain 'tiny': Stopped Migrated")
        guest.assert_runs_only_on(host_b, host_a)
