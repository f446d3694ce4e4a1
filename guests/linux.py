"""The Linux guest: Debian's cloud kernel, unpacked without installing it, and an initramfs with our own init."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from guests import cache, cpio, tiny

SOURCES = [cache.SOURCES / "linux" / "init.c", cache.SOURCES / "pattern.h", cache.SOURCES / "cpio.py"]
COMPILER = "gcc"
FLAGS = ("-static", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-s")
META_PACKAGE = "linux-image-cloud-amd64"
KERNEL_VARIABLE = "CULVERT_GUEST_KERNEL"  # a kernel image to use instead

OVERHEAD_MIB = 128  # the kernel, its tables and the initramfs
# Quiet until it fails; nothing that waits for hardware a guest has not got; output on the first serial port.
KERNEL_WORDS = (
    "console=ttyS0 quiet loglevel=4 panic=0 mitigations=off nokaslr no_timer_check tsc=reliable rdinit=/init"
)


@dataclass(frozen=True, slots=True)
class LinuxParameters:
    """What the Linux guest does; the fields mean what they mean in ``tiny.TinyParameters``."""

    mib: int = 128
    dirty_mib: int = 64
    dirty_mib_s: float = 20
    pass_s: float = 1.0
    hz: int = 100

    @property
    def pages(self) -> int:
        """Pages that hold the pattern."""
        return self.mib * tiny.PAGES_PER_MIB

    @property
    def memory_mib(self) -> int:
        """The memory a domain needs for this guest, MiB."""
        return self.mib + OVERHEAD_MIB

    def cmdline(self) -> str:
        """The kernel command line."""
        words = {
            "guest_pages": self.pages,
            "guest_dirty_pages": self.dirty_mib * tiny.PAGES_PER_MIB,
            "guest_dirty_per_tick": round(self.dirty_mib_s * tiny.PAGES_PER_MIB / self.hz),
            "guest_verify_per_tick": max(1, round(self.pages / (self.pass_s * self.hz))),
            "guest_hz": self.hz,
        }
        return " ".join([KERNEL_WORDS, *(f"{name}={value}" for name, value in words.items())])


def _fetch(folder: Path) -> str:
    """Fetch the versioned package that the meta package names today into ``folder``; returns its name."""
    found = re.search(r"Depends: (linux-image-\S+)", cache.run(["apt-cache", "depends", META_PACKAGE]))
    if found is None:
        raise cache.BuildFailed(f"{META_PACKAGE}: apt knows no such package; set {KERNEL_VARIABLE} to a kernel image")
    # Debian's kernels from 7.0 on are in parts: the image itself, and its modules.
    told = cache.run(["apt-cache", "depends", found.group(1)])
    packages = [found.group(1), *re.findall(r"Depends: (linux-(?:binary|modules)-\S+)", told)]
    cache.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *packages], cwd=folder)
    return found.group(1)


def unpack_package(folder: Path) -> Path:
    """The kernel's package, unpacked below ``folder``. Raises ``cache.BuildFailed``."""
    try:
        package = _fetch(folder)
    except cache.BuildFailed:  # apt's lists are missing, or name a version that is no longer kept
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        cache.run([*root, "apt-get", "-qq", "update"])
        package = _fetch(folder)
    for deb in folder.glob("*.deb"):
        cache.run(["dpkg-deb", "-x", deb, folder / "unpacked"])
        deb.unlink()
    (folder / "package").write_text(package + "\n", encoding="ascii")
    return folder / "unpacked"


def image_of(unpacked: Path) -> Path:
    """The kernel itself: below ``boot``, or with its modules."""
    (image,) = (*unpacked.glob("boot/vmlinuz-*"), *unpacked.glob("usr/lib/modules/*/vmlinuz"))
    return image


def remove_package(folder: Path) -> None:
    """What ``unpack_package`` made and nobody needs any more."""
    shutil.rmtree(folder / "unpacked")


def _download(folder: Path) -> None:
    shutil.move(image_of(unpack_package(folder)), folder / "vmlinuz")
    remove_package(folder)


def kernel() -> Path:
    """The guest's kernel image: ``$CULVERT_GUEST_KERNEL``, or Debian's newest cloud kernel as of the first call.

    Raises ``cache.BuildFailed`` when the package cannot be had.
    """
    named = os.environ.get(KERNEL_VARIABLE)
    if named:
        return Path(named)
    return cache.built("linux-kernel", "amd64", _download) / "vmlinuz"


def initramfs() -> Path:
    """The guest's initial file system: ``/init`` and an empty ``/dev``.

    Raises ``cache.BuildFailed`` with the compiler's words.
    """

    def build(folder: Path) -> None:
        cache.run([COMPILER, *FLAGS, "-o", folder / "init", SOURCES[0]])
        members = [
            cpio.folder("dev"),
            cpio.character_device("dev/console", 5, 1),
            cpio.program("init", (folder / "init").read_bytes()),
        ]
        (folder / "initramfs").write_bytes(cpio.archive(members))

    return cache.built("linux-initramfs", cache.key_of(SOURCES, *FLAGS), build) / "initramfs"
