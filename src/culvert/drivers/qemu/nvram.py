"""The variables of a guest's firmware: a file of its own, made from a template before the guest first needs it.

What is in them is the guest's, and is part of what travels: QEMU has both flashes in its memory, sends them with it,
and writes the variables to the file where the guest goes on, when it does so (hw/block/pflash_cfi01.c, 7.2). There a
file of the right size must be; what is in it does not matter. The file of the host that the guest has left stays, as
libvirt's does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from culvert.domain import firmware
from culvert.domain.definition import DomainDef
from culvert.drivers.qemu import belongings
from culvert.drivers.qemu.abilities import firmware as known
from culvert.drivers.qemu.state.layout import DIRECTORY_MODE, Layout
from culvert.ground import errors
from culvert.io import files

RESET = "nvram-reset"
"""The annotation of a start that makes it anew."""


def path_of(definition: DomainDef) -> Path | None:
    """The file that ``definition`` names."""
    told = definition.os.nvram
    return Path(told.path) if told is not None and told.path is not None else None


def settle(definition: DomainDef, layout: Layout, *, reset: bool) -> DomainDef:
    """``definition`` with the firmware and the file with which it is started; it touches the disk.

    ``reset``: variables that are there already do not count. Raises as ``abilities.firmware.settle``, and
    ``errors.ConfigUnsupported`` for an image that this host does not have.
    """
    path = path_of(definition)
    kept = path is not None and path.exists() and not reset
    if definition.os.firmware is None and definition.os.loader is None:
        return definition
    found = known.settle(definition, known.installed(), kept=kept)
    at = firmware.complete(found.os, found.name, str(layout.nvram))
    loader = at.loader.path if at.loader else None
    if loader is not None and not os.path.exists(loader):
        raise errors.ConfigUnsupported(
            f"unsupported configuration: /domain/os/loader: there is no firmware '{loader}' here (Debian's package"
            " ovmf has that of UEFI)"
        )
    return replace(found, os=at)


def to_make(definition: DomainDef) -> Mapping[str, str]:
    """The annotation for a start of a settled ``definition`` where the file is missing; it touches the disk."""
    path = path_of(definition)
    return {belongings.NVRAM: str(path)} if path is not None and not path.exists() else {}


def kept_for(definition: DomainDef, layout: Layout) -> Path | None:
    """The file of a domain that may not run, where it is there; it touches the disk."""
    path = path_of(definition)
    if path is None and definition.os.firmware == firmware.EFI:
        path = Path(firmware.variables(str(layout.nvram), definition.name))
    return path if path is not None and path.exists() else None


def make(definition: DomainDef, *, reset: bool) -> None:
    """Make the file of a settled ``definition``, unless it is there and to be kept; it touches the disk.

    Raises ``errors.OperationFailed`` where it is not known from what, ``errors.SystemCallError`` where it cannot be.
    """
    path = path_of(definition)
    if path is None or (path.exists() and not reset):
        return
    template = known.template(definition)
    if template is None:
        image = definition.os.loader.path if definition.os.loader else None
        raise errors.OperationFailed(
            f"operation failed: unable to find any master var store for loader: {image}"
            " (/domain/os/nvram/@template names none)"
        )
    try:
        content = Path(template).read_bytes()
    except OSError as err:
        raise errors.SystemCallError(f"Failed to open file '{template}': {err.strerror}", errno=err.errno) from err
    try:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as err:
        raise errors.SystemCallError(
            f"domain '{definition.name}': cannot make the folder of '{path}': {err.strerror}", errno=err.errno
        ) from err
    files.write_atomically(path, content)


def renamed(definition: DomainDef, name: str, layout: Layout) -> None:
    """The domain of ``definition``, which does not run, is to be called ``name``: its file goes by it where nobody
    has said another place; it touches the disk. Raises ``errors.SystemCallError``.
    """
    before = kept_for(definition, layout)
    if before is None or path_of(definition) is not None:
        return
    try:
        before.rename(firmware.variables(str(layout.nvram), name))
        files.flush_directory(before.parent)
    except OSError as err:
        raise errors.SystemCallError(f"cannot rename '{before}': {err.strerror}", errno=err.errno) from err
