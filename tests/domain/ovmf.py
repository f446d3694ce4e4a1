"""What the package ovmf of Debian 12 says of the firmware that it brings (2022.11-6+deb12u2)."""

from __future__ import annotations

from dataclasses import replace

from culvert.domain.definition import DomainDef
from culvert.domain.firmware import complete
from culvert.domain.host import HostFacts
from culvert.drivers.qemu.abilities.firmware import Firmware, settle

PLACE = "/usr/share/OVMF"
VARIABLES = HostFacts().nvram
EVERYWHERE = frozenset({"acpi-s3", "amd-sev", "verbose-dynamic"})
SECURE = EVERYWHERE | {"requires-smm", "secure-boot"}


def _one(code: str, variables: str, machines: tuple[str, ...], features: frozenset[str]) -> Firmware:
    return Firmware(
        interfaces=frozenset({"uefi"}),
        device="flash",
        path=f"{PLACE}/{code}",
        template=f"{PLACE}/{variables}",
        machines=machines,
        features=features,
    )


INSTALLED = (
    _one("OVMF_CODE_4M.ms.fd", "OVMF_VARS_4M.ms.fd", ("pc-q35-*",), SECURE | {"enrolled-keys"}),
    _one("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.fd", ("pc-q35-*",), SECURE),
    _one("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd", ("pc-i440fx-*", "pc-q35-*"), EVERYWHERE),
)


def started(definition: DomainDef, folder: str = VARIABLES) -> DomainDef:
    """A complete ``definition`` with the firmware that it is started with there, its variables not made yet;
    ``folder`` is for those that have no other place."""
    found = settle(definition, INSTALLED, kept=False)
    return replace(found, os=complete(found.os, found.name, folder))
