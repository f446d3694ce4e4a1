"""What libvirt refuses of a guest's firmware: rows of ``validate``.

Source: conf/domain_validate.c (virDomainDefOSValidate) and qemu/qemu_validate.c (qemuValidateDomainDefBoot) of
libvirt 9.0.
"""

from __future__ import annotations

from collections.abc import Callable

from culvert.domain import firmware
from culvert.domain.definition import DomainDef
from culvert.domain.features import Features
from culvert.domain.loader import PFLASH
from culvert.ground import errors


def _loader(one: DomainDef, name: str) -> object:
    return getattr(one.os.loader, name) if one.os.loader else None


# Later libvirts write beside firmware='efi' the image that they have found: then it is given as a whole.
def _found_and_given(one: DomainDef, said: object) -> bool:
    return one.os.firmware is not None and said is not None and _loader(one, "path") is None


def _is_on(features: Features | None, name: str) -> bool:
    toggle = getattr(features, name) if features else None
    return toggle is not None and toggle.state is not False


ROWS: tuple[tuple[Callable[[DomainDef], object], str, type[errors.RequestError]], ...] = (
    (
        # Beside what was found by it, it stands in every live XML.
        lambda one: one.os.firmware is None and one.os.firmware_wish is not None and _loader(one, "path") is None,
        "/domain/os/firmware chooses nothing without /domain/os/@firmware",
        errors.XMLDetail,
    ),
    (
        lambda one: _found_and_given(one, _loader(one, "readonly")),
        "/domain/os/loader/@readonly does not go with firmware='{0.os.firmware}', which finds a loader",
        errors.XMLDetail,
    ),
    (
        lambda one: _found_and_given(one, _loader(one, "type")),
        "/domain/os/loader/@type does not go with firmware='{0.os.firmware}', which finds a loader",
        errors.XMLDetail,
    ),
    (
        lambda one: one.os.firmware is not None and _loader(one, "path") and not firmware.is_uefi(one.os),
        "/domain/os/loader names an image, and firmware='{0.os.firmware}' finds one",
        errors.XMLDetail,
    ),
    (
        lambda one: _found_and_given(one, one.os.nvram.template if one.os.nvram else None),
        "/domain/os/nvram/@template does not go with firmware='{0.os.firmware}', which finds one",
        errors.XMLDetail,
    ),
    (
        lambda one: one.os.firmware is not None and _loader(one, "secure") is False and not firmware.is_uefi(one.os),
        "/domain/os/loader/@secure='no' does not go with firmware='{0.os.firmware}', which finds a loader",
        errors.XMLDetail,
    ),
    (
        lambda one: one.os.firmware not in (None, firmware.EFI) and one.os.nvram and one.os.nvram.path,
        "/domain/os/nvram does not go with firmware='{0.os.firmware}', which keeps no variables",
        errors.XMLDetail,
    ),
    (
        lambda one: (
            one.os.firmware is None
            and (one.os.loader is not None or one.os.nvram is not None)
            and _loader(one, "path") is None
        ),
        "/domain/os/loader names no image, and /domain/os/@firmware does not say that one is to be found",
        errors.XMLDetail,
    ),
    (
        lambda one: _loader(one, "stateless") and one.os.nvram and one.os.nvram.template,
        "/domain/os/nvram/@template does not go with a stateless loader",
        errors.XMLDetail,
    ),
    (
        lambda one: _loader(one, "stateless") and one.os.nvram and one.os.nvram.path,
        "/domain/os/nvram does not go with a stateless loader",
        errors.XMLDetail,
    ),
    (
        lambda one: _loader(one, "stateless") is False and firmware.kind(one.os) != PFLASH,
        "/domain/os/loader/@stateless='no' needs a loader of type pflash: no other one keeps variables",
        errors.XMLDetail,
    ),
    (
        lambda one: one.os.nvram and one.os.nvram.template_format != one.os.nvram.format and one.os.nvram.template,
        "/domain/os/nvram/@templateFormat is not that of the variables: a template is copied as it is",
        errors.ConfigUnsupported,
    ),
    (
        lambda one: _loader(one, "secure") and not one.is_q35,
        "/domain/os/loader/@secure='yes' needs a q35 machine",
        errors.ConfigUnsupported,
    ),
    (
        lambda one: _loader(one, "secure") and one.os.firmware is None and not _is_on(one.features, "smm"),
        "/domain/os/loader/@secure='yes' needs /domain/features/smm",
        errors.ConfigUnsupported,
    ),
    (
        lambda one: firmware.kind(one.os) == PFLASH and not (one.features and one.features.acpi),
        "UEFI needs /domain/features/acpi",
        errors.ConfigUnsupported,
    ),
    (
        lambda one: one.os.bios and one.os.bios.useserial and not one.devices.serials,
        "/domain/os/bios/@useserial='yes' needs a serial port",
        errors.XMLError,
    ),
)
