"""The tiny guest's image: compiled once, parameters patched in per guest.

One flat file that boots both as a raw disk and as ``-kernel`` (multiboot); ``guests/tiny/boot.S`` tells its layout.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

from guests import cache

SOURCES = [cache.SOURCES / "tiny" / name for name in ("boot.S", "guest.c", "tiny.ld")] + [cache.SOURCES / "pattern.h"]
COMPILER = "gcc"
FLAGS = (
    *("-m32", "-march=i686", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror"),
    *(
        "-ffreestanding",
        "-fno-pie",
        "-fno-stack-protector",
        "-fno-asynchronous-unwind-tables",
        "-fcf-protection=none",
    ),
    *("-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments"),
)

PAGE = 4096
PAGES_PER_MIB = 256
PARAMETERS_AT = 512
MAGIC = b"CULVTINY"
DISK_SIZE = 1 << 20  # whole cylinders for the firmware's sake; the file is sparse
# What the machine needs beside the pattern: 2 MiB below it, and firmware tables at the top of memory.
OVERHEAD_MIB = 4
MOST_MIB = 1900  # the pattern lies below the 32-bit PCI hole of either machine
AS_FAST_AS_IT_CAN = 0xFFFFFFFF  # instead of pages a tick
FILLS = {"sequence": 0, "zeros": 1, "text": 2}  # FILL_... of pattern.h


@dataclass(frozen=True, slots=True)
class TinyParameters:
    """What the tiny guest does.

    ``mib`` of memory are filled, the first ``dirty_mib`` of them rewritten again and again at ``dirty_mib_s`` MiB/s;
    all of them are verified once every ``pass_s`` seconds (as far as the processor keeps up), ``hz`` lines are
    printed in a second. ``break_page`` spoils one page after the first pass, to see that this is found. ``fill`` is
    what the memory holds that is not rewritten: a ``sequence`` that cannot be compressed, ``zeros``, or ``text``.
    With ``touch`` a rewrite changes one word of a page only; ``dirty_mib_s`` may be infinite: as fast as it can.
    """

    mib: int = 32
    dirty_mib: int = 16
    dirty_mib_s: float = 10
    pass_s: float = 0.5
    hz: int = 100
    break_page: int | None = None
    fill: str = "sequence"
    touch: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.mib <= MOST_MIB:
            raise ValueError(f"mib={self.mib}: from 1 to {MOST_MIB}")
        if not 0 <= self.dirty_mib <= self.mib:
            raise ValueError(f"dirty_mib={self.dirty_mib}: from 0 to mib={self.mib}")
        if not 19 <= self.hz <= 1000:
            raise ValueError(f"hz={self.hz}: from 19 (the timer's slowest) to 1000")
        if self.break_page is not None and not 0 <= self.break_page < self.pages:
            raise ValueError(f"break_page={self.break_page}: not one of {self.pages} pages")
        if self.fill not in FILLS:
            raise ValueError(f"fill={self.fill}: not one of {', '.join(FILLS)}")

    @property
    def pages(self) -> int:
        """Pages that hold the pattern."""
        return self.mib * PAGES_PER_MIB

    @property
    def memory_mib(self) -> int:
        """The least memory a domain needs for this guest, MiB."""
        return self.mib + OVERHEAD_MIB

    @property
    def dirty_per_tick(self) -> int:
        """Pages rewritten in a tick, of a finite rate."""
        return round(self.dirty_mib_s * PAGES_PER_MIB / self.hz)

    def sector(self) -> bytes:
        """The parameter sector's beginning: ``struct parameters`` of guest.c."""
        return MAGIC + struct.pack(
            "<8I",
            self.pages,
            self.dirty_mib * PAGES_PER_MIB,
            AS_FAST_AS_IT_CAN if math.isinf(self.dirty_mib_s) else self.dirty_per_tick,
            max(1, round(self.pages / (self.pass_s * self.hz))),
            self.hz,
            0 if self.break_page is None else self.break_page + 1,
            FILLS[self.fill],
            self.touch,
        )


def program() -> bytes:
    """The compiled guest with empty parameters.

    Raises ``cache.BuildFailed`` with the compiler's words.
    """

    def build(folder: Path) -> None:
        elf, script = folder / "tiny.elf", cache.SOURCES / "tiny" / "tiny.ld"
        sources = [path for path in SOURCES if path.suffix in (".S", ".c")]
        cache.run([COMPILER, *FLAGS, f"-Wl,-T,{script}", "-o", elf, *sources])
        cache.run(["objcopy", "-O", "binary", elf, folder / "tiny.bin"])

    return (cache.built("tiny", cache.key_of(SOURCES, *FLAGS), build) / "tiny.bin").read_bytes()


def write_image(path: Path, parameters: TinyParameters) -> Path:
    """Write a bootable image with ``parameters`` to ``path`` and return ``path``."""
    image = bytearray(program())
    sector = parameters.sector()
    image[PARAMETERS_AT : PARAMETERS_AT + len(sector)] = sector
    with open(path, "wb") as file:
        file.write(image)
        file.truncate(DISK_SIZE)
    return path
