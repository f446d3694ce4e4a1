"""The real virt-install makes guests of images; its definitions are taken as they are."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.virsh import virsh

pytestmark = pytest.mark.interop

VIRT_INSTALL = "/usr/bin/virt-install"


def virt_install(host: DaemonProcess, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [VIRT_INSTALL, "--connect", host.uri, "--noautoconsole", *args],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env={**environment, "HOME": str(home), "XDG_CACHE_HOME": str(home)},
    )


@pytest.mark.parametrize("system", ["debian11", "fedora37", "win10", "win2k19", "generic"])
def test_import(host_a: DaemonProcess, folder: Path, system: str) -> None:
    image = folder / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1G"], check=True)
    done = virt_install(
        *(host_a, folder, "--import", "--name", "g", "--memory", "64", "--vcpus", "2", "--disk", str(image)),
        *("--osinfo", system, "--virt-type", "qemu", "--network", "user", "--graphics", "vnc"),
    )
    assert "Domain creation completed" in done.stdout, done.stdout + done.stderr
    assert virsh("domstate", "g", uri=host_a.uri).expect().strip() == "running"
    assert str(image) in virsh("domblklist", "g", uri=host_a.uri).expect()
    xml = virsh("dumpxml", "g", uri=host_a.uri).expect()
    assert "libosinfo:os id=" in xml or system == "generic"
    assert re.search(r"^ \S+ +active", virsh("pool-list", uri=host_a.uri).expect(), re.MULTILINE)
    # It is defined as it runs: it can be stopped, started, moved about.
    virsh("destroy", "g", uri=host_a.uri).expect()
    virsh("start", "g", uri=host_a.uri).expect()


def test_a_serial_console_and_no_graphics(host_a: DaemonProcess, folder: Path) -> None:
    image = folder / "disk.raw"
    image.write_bytes(bytes(1 << 20))
    done = virt_install(
        *(host_a, folder, "--import", "--name", "g", "--memory", "64", "--disk", f"{image},format=raw,bus=virtio"),
        *("--osinfo", "detect=off,require=off", "--virt-type", "qemu", "--network", "user", "--graphics", "none"),
    )
    assert "Domain creation completed" in done.stdout, done.stdout + done.stderr
    assert virsh("ttyconsole", "g", uri=host_a.uri).expect().strip().startswith("/dev/pts/")


def test_what_is_not_supported_is_named(host_a: DaemonProcess, folder: Path) -> None:
    image = folder / "disk.raw"
    image.write_bytes(bytes(1 << 20))
    done = virt_install(
        *(host_a, folder, "--import", "--name", "g", "--memory", "64", "--disk", str(image), "--osinfo", "generic"),
        *("--virt-type", "qemu", "--network", "network=default", "--graphics", "none"),
    )
    assert "/domain/devices/" in done.stdout + done.stderr, done.stdout + done.stderr
    assert virsh("list", "--all", "--name", uri=host_a.uri).expect().split() == []


@pytest.mark.parametrize(
    ("disk", "bus"), [("size=1", "virtio"), ("size=1,bus=scsi", "scsi"), ("size=1,format=raw,sparse=yes", "virtio")]
)
def test_a_disk_of_a_size_is_made(host_a: DaemonProcess, folder: Path, disk: str, bus: str) -> None:
    place = folder / "images"
    place.mkdir()
    virsh("pool-create-as", "default", "dir", "--target", str(place), uri=host_a.uri).expect()
    done = virt_install(
        *(host_a, folder, "--import", "--name", "g", "--memory", "64", "--disk", disk, "--osinfo", "debian11"),
        *("--virt-type", "qemu", "--network", "user", "--graphics", "vnc"),
    )
    assert "Domain creation completed" in done.stdout, done.stdout + done.stderr
    (image,) = place.iterdir()
    listed = virsh("domblklist", "g", uri=host_a.uri).expect()
    assert str(image) in listed
    assert f"bus='{bus}'" in virsh("dumpxml", "g", uri=host_a.uri).expect()
    assert re.search(r"Capacity: +1073741824", virsh("domblkinfo", "g", listed.split()[3], uri=host_a.uri).expect())
    virsh("destroy", "g", uri=host_a.uri).expect()
    virsh("undefine", "g", "--remove-all-storage", uri=host_a.uri).expect()
    assert list(place.iterdir()) == []
