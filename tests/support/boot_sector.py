"""Guests of one sector: they touch one device, once, and halt. Real mode, no operating system."""

from __future__ import annotations

from pathlib import Path

SECTOR = 512
IMAGE = 1024 * 1024  # the BIOS does not boot a SATA disk of a few sectors
HALT = bytes.fromhex("f4 ebfd")  # hlt; jmp back to it

# Register 4 of the clock (hours) becomes 5: out 0x70, 4; out 0x71, 5
SET_CLOCK = bytes.fromhex("b004 e670 b005 e671")
# ib700, port 0x443 (drivers/watchdog/ib700wdt.c of Linux): it barks after 0 seconds
BARK = bytes.fromhex("ba4304 b00f ee")
# Legacy virtio configuration: the balloon at 00:04.0 has given back 256 pages of 4 KiB ("actual", at 4 of its own)
GIVE_BACK = bytes.fromhex(
    "66b810200080 baf80c 66ef"  # mov eax, 0x80002010 (00:04.0, BAR 0); out 0xcf8
    "bafc0c 66ed 25fcff 051800 89c2"  # in eax, 0xcfc; dx = (ax & ~3) + 20 + 4
    "66b800010000 66ef"  # mov eax, 256; out dx, eax
)
# PM1a_CNT of either machine at 0x604: SLP_EN, and the type that SeaBIOS' tables call S3
SLEEP = bytes.fromhex("ba0406 b80024 ef")
GIVEN_BACK_KIB = 1024
# ACPI's CPU hot-plug of a pc, port 0xaf00 (docs/specs/acpi_cpu_hotplug.txt of QEMU): processor 1 leaves when asked to
_SELECT = (
    "ba00af b000 ee"  # out 0xaf00, 0: not by the legacy registers
    "ba00af 66b801000000 66ef"  # processor 1 is meant
    "ba04af ec a804 74ed"  # in al, 0xaf04; not to be removed: select it again
)
LET_GO = bytes.fromhex(_SELECT + "b008 ee ebe8")  # out 0xaf04, 8: ejected; again
LET_GO_AT_A_KEY = bytes.fromhex(_SELECT + "e464 a801 74fa b008 ee ebe2")  # first waits for the keyboard, port 0x64


def disk(place: Path, name: str, code: bytes) -> str:
    """The XML of a disk that runs ``code`` and halts; its image ``NAME.img`` is made in ``place``."""
    sector = (b"\xfa" + code + HALT).ljust(SECTOR - 2, b"\0") + b"\x55\xaa"  # cli first
    image = place / f"{name}.img"
    image.write_bytes(sector.ljust(IMAGE, b"\0"))
    return f"<disk type='file'><driver name='qemu' type='raw'/><source file='{image}'/><target dev='hda'/></disk>"
