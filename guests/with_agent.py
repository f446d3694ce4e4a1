"""A Linux guest in which Debian's own qemu-guest-agent runs: the program, its libraries, its channel, no more.

Of the kernel's package come the modules for the channel; of the machine's own package comes the agent.
"""

from __future__ import annotations

import lzma
import re
from dataclasses import dataclass
from pathlib import Path

from guests import cache, cpio, linux

AGENT = Path("/usr/sbin/qemu-ga")
INIT = cache.SOURCES / "linux" / "agent.c"
# In the order in which each finds what it needs.
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_console")
MEMORY_MIB = 192
COMMAND_LINE = (
    "console=ttyS0 quiet loglevel=4 panic=0 mitigations=off nokaslr no_timer_check tsc=reliable rdinit=/init"
)


@dataclass(frozen=True, slots=True)
class Images:
    """What the guest boots from."""

    kernel: Path
    initramfs: Path


def build() -> Images:
    """Both, made if they are not in the cache. Raises ``cache.BuildFailed``, also where there is no agent to take."""
    folder = cache.built("with-agent", cache.key_of([INIT, AGENT], *MODULES), _build)
    return Images(folder / "vmlinuz", folder / "initramfs")


def _build(folder: Path) -> None:
    unpacked = linux.unpack_package(folder)
    linux.image_of(unpacked).rename(folder / "vmlinuz")
    cache.run([linux.COMPILER, *linux.FLAGS, "-o", folder / "init", INIT])
    members = [cpio.folder(name) for name in ("dev", "modules", "lib", "lib64")]
    members += [cpio.character_device("dev/console", 5, 1), cpio.program("init", (folder / "init").read_bytes())]
    for number, name in enumerate(MODULES):
        for path in unpacked.rglob(f"{name}.ko*"):
            module = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
            members.append(cpio.program(f"modules/{number}-{name}.ko", module))
    members.append(cpio.program("qemu-ga", AGENT.read_bytes()))
    for library in _libraries():
        where = "lib64" if library.name.startswith("ld-linux") else "lib"
        members.append(cpio.program(f"{where}/{library.name}", library.read_bytes()))
    (folder / "initramfs").write_bytes(cpio.archive(members))
    linux.remove_package(folder)


def _libraries() -> list[Path]:
    """What the dynamic linker would load, and itself."""
    told = cache.run(["ldd", AGENT])
    return [Path(path) for path in re.findall(r"(/\S+)(?= \(0x)", told)]
