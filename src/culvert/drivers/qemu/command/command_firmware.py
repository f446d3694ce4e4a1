"""The firmware's image and its variables: ``-blockdev``, properties of the machine, ``-bios``, ``-global``.

Each image is two block nodes, as libvirt 9.0 makes them. Source: qemu/qemu_command.c, qemu/qemu_domain.c
(qemuDomainInitializePflashStorageSource).
"""

from __future__ import annotations

from collections.abc import Iterator

from culvert.domain import firmware
from culvert.domain.definition import DomainDef
from culvert.domain.loader import ROM, Nvram
from culvert.domain.platform import Os
from culvert.drivers.qemu.command.command_syntax import option

CODE, VARIABLES = "libvirt-pflash0", "libvirt-pflash1"


def _variables(os: Os) -> str | None:
    return (os.nvram or Nvram()).path if firmware.is_uefi(os) else None


def images(definition: DomainDef) -> Iterator[str]:
    """The nodes of both flashes."""
    os = definition.os
    if os.loader is not None and os.loader.path is not None and firmware.is_uefi(os):
        yield from _image(CODE, os.loader.path, os.loader.format, readonly=os.loader.readonly is True)
    if (path := _variables(os)) is not None:
        yield from _image(VARIABLES, path, os.nvram.format if os.nvram else None, readonly=False)


def _image(name: str, path: str, form: str | None, *, readonly: bool) -> Iterator[str]:
    storage = {
        "driver": "file",
        "filename": path,
        "node-name": f"{name}-storage",
        "auto-read-only": True,
        "discard": "unmap",
    }
    yield from option("-blockdev", storage)
    above = {"node-name": f"{name}-format", "read-only": readonly, "driver": form or "raw", "file": f"{name}-storage"}
    yield from option("-blockdev", above)


def of_machine(definition: DomainDef) -> Iterator[str]:
    """What the machine is told of it."""
    os = definition.os
    if firmware.is_uefi(os):
        yield f"pflash0={CODE}-format"
    if _variables(os) is not None:
        yield f"pflash1={VARIABLES}-format"
    if os.bios is not None and os.bios.useserial:
        yield "graphics=off"


def loader(definition: DomainDef) -> Iterator[str]:
    """An image that is no flash; and who may write to one that is."""
    told = definition.os.loader
    if told is None or told.path is None:
        return
    if told.type == ROM:
        yield from ("-bios", told.path)
    elif told.secure:
        yield from ("-global", "driver=cfi.pflash01,property=secure,value=on")
