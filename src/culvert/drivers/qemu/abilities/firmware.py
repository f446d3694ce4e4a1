"""The firmware that this host has, by the descriptions that its packages install, and which of it a guest is given.

A description is a JSON file (QEMU's docs/interop/firmware.json). One in a later folder takes the place of one of the
same name in an earlier folder, and an empty file takes it away; of those that are left the name says which is asked
first. Source: qemu/qemu_interop_config.c, qemu/qemu_firmware.c of libvirt 9.0.
"""

from __future__ import annotations

import fnmatch
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from culvert.domain import firmware
from culvert.domain.definition import DomainDef
from culvert.domain.features import Features, Smm
from culvert.domain.loader import PFLASH, ROM, FirmwareWish, Loader, Nvram
from culvert.domain.platform import Pm
from culvert.ground import errors

log = logging.getLogger(__name__)

ARCH = "x86_64"
FOLDERS = (Path("/usr/share/qemu/firmware"), Path("/etc/qemu/firmware"))
INTERFACES = {"efi": "uefi", "bios": "bios"}  # as a definition says it → as a description does

# Images of which no description tells, and the templates of their variables (qemu/qemu_conf.c, DEFAULT_LOADER_NVRAM).
TEMPLATES = {
    "/usr/share/OVMF/OVMF_CODE.fd": "/usr/share/OVMF/OVMF_VARS.fd",
    "/usr/share/OVMF/OVMF_CODE.secboot.fd": "/usr/share/OVMF/OVMF_VARS.fd",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """One description. ``device``: flash, memory or kernel; ``machines``: patterns, of x86_64 alone.

    ``mode``, ``template`` and the formats are a flash's: split from its variables, combined with them, or stateless.
    """

    interfaces: frozenset[str]
    device: str
    path: str
    format: str = "raw"
    mode: str = "split"
    template: str = ""
    template_format: str = "raw"
    machines: tuple[str, ...] = ()
    features: frozenset[str] = frozenset()

    def is_for(self, machine: str) -> bool:
        return any(fnmatch.fnmatchcase(machine, pattern) for pattern in self.machines)


def parse(text: str) -> Firmware:
    """Raises ``ValueError`` for what is no description."""
    try:
        told = json.loads(text)
        mapping = told["mapping"]
        image = mapping["executable"] if mapping["device"] == "flash" else mapping
        template = mapping.get("nvram-template", {})
        return Firmware(
            interfaces=frozenset(map(str, told["interface-types"])),
            device=str(mapping["device"]),
            path=str(image["filename"]),
            format=str(image.get("format", "raw")),
            mode=str(mapping.get("mode", "split")),
            template=str(template.get("filename", "")),
            template_format=str(template.get("format", "raw")),
            machines=tuple(_machines(told["targets"])),
            features=frozenset(map(str, told["features"])),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as err:
        raise ValueError(f"it is no description of a firmware ({type(err).__name__}: {err})") from err


def _machines(targets: Iterable[Any]) -> Iterable[str]:
    return (str(name) for one in targets if one["architecture"] == ARCH for name in one["machines"])


def installed(folders: Sequence[Path] = FOLDERS) -> tuple[Firmware, ...]:
    """All of this host, in the order in which they are asked; one that cannot be read is left out, and told of in the
    log. It touches the disk."""
    named: dict[str, Path] = {}
    for folder in folders:
        try:
            named |= {
                path.name: path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()
            }
        except OSError:
            continue  # nothing is installed there
    found = []
    for _, path in sorted(named.items()):
        try:
            if text := path.read_text(encoding="utf-8"):
                found.append(parse(text))
        except (OSError, ValueError) as err:
            log.warning("firmware=%s is not used reason=%r", path, str(err))
    return tuple(found)


def present() -> tuple[Firmware, ...]:
    """Those of ``installed`` whose image is there."""
    return tuple(one for one in installed() if Path(one.path).exists())


def settle(definition: DomainDef, known: Sequence[Firmware], *, kept: bool) -> DomainDef:
    """``definition`` with the firmware with which it is started. ``kept``: its variables are there already.

    Raises ``errors.OperationFailed`` where there is none such, ``errors.OperationInvalid`` for one that needs what
    the guest must not have.
    """
    os = definition.os
    if os.firmware is not None and not firmware.is_uefi(os):
        found = next((one for one in known if _fits(one, definition)), None)
        if found is None:
            raise errors.OperationFailed(
                f"operation failed: Unable to find any firmware to satisfy '{os.firmware}'{_wanted(definition)}"
            )
        return _with(definition, found)
    given = replace(definition, os=replace(os, firmware=None))
    if not firmware.keeps_variables(os) or (os.nvram is not None and os.nvram.template) or kept:
        return given
    found = next((one for one in known if _fits(one, given)), None)
    return given if found is None else _with(given, found)


def _wanted(definition: DomainDef) -> str:
    wish = definition.os.firmware_wish or FirmwareWish()
    told = [f"{one.name}={'yes' if one.enabled else 'no'}" for one in wish.features]
    return f" (machine '{definition.machine}'{''.join(f', {one}' for one in told)}): is the package ovmf installed?"


def _fits(one: Firmware, definition: DomainDef) -> bool:
    os, pm = definition.os, definition.pm or Pm()
    loader, wish = os.loader or Loader(), os.firmware_wish or FirmwareWish()
    if os.firmware is None:
        # By an image that somebody has named, for the template of its variables.
        if one.device != "flash" or loader.path != one.path or "uefi" not in one.interfaces:
            return False
    elif INTERFACES[os.firmware] not in one.interfaces:
        return False
    wanted = "stateless" if loader.stateless else "split"
    return (
        one.is_for(definition.machine)
        and not (pm.suspend_to_mem and "acpi-s3" not in one.features)
        and not (pm.suspend_to_disk and "acpi-s4" not in one.features)
        and all(wish.wants(name) in (None, name in one.features) for name in ("secure-boot", "enrolled-keys"))
        and not (loader.secure and "requires-smm" not in one.features)
        and (one.device != "flash" or one.mode == wanted)
        and one.device != "kernel"
    )


def _with(definition: DomainDef, one: Firmware) -> DomainDef:
    loader = replace(
        definition.os.loader or Loader(),
        path=one.path,
        type=PFLASH if one.device == "flash" else ROM,
        format=_format(one.format),
    )
    nvram = definition.os.nvram
    if one.device == "flash":
        loader = replace(loader, readonly=True)
        if one.mode == "split":
            form = _format(one.template_format)
            nvram = replace(nvram or Nvram(), template=one.template, template_format=form, format=form)
    features = definition.features
    if "requires-smm" in one.features:
        features = features or Features()
        if features.smm is not None and features.smm.state is False:
            raise errors.OperationInvalid(
                f"domain '{definition.name}' has no SMM (/domain/features/smm), which its firmware '{one.path}' needs"
            )
        features = replace(features, smm=replace(features.smm or Smm(), state=True))
        loader = replace(loader, secure=True)
    os = replace(definition.os, firmware=None, loader=loader, nvram=nvram)
    return replace(definition, os=os, features=features)


def _format(told: str) -> str | None:
    return None if told == "raw" else told


def template(definition: DomainDef) -> str | None:
    """What the variables of a settled ``definition`` are made from; ``None``: nobody knows."""
    os = definition.os
    told = os.nvram.template if os.nvram else None
    return told or TEMPLATES.get((os.loader.path if os.loader else None) or "")
