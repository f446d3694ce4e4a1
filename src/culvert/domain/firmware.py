"""What ``<os>`` says of the guest's firmware: what libvirt fills in, what travels, what of it a guest can see.

Source: conf/domain_postparse.c, qemu/qemu_domain.c, qemu/qemu_firmware.c of libvirt 9.0.
"""

from __future__ import annotations

import re
from dataclasses import replace

from culvert.domain.loader import PFLASH, ROM, FirmwareFeature, FirmwareWish, Loader, Nvram
from culvert.domain.platform import Os
from culvert.ground import errors

EFI = "efi"
_MADE_UP = re.compile(r"/.*/qemu/nvram/[^/]+_VARS\.fd")


def is_uefi(os: Os) -> bool:
    """Whether there is a flash with an image in it by now (virDomainDefHasOldStyleUEFI)."""
    return os.loader is not None and os.loader.type == PFLASH and os.loader.path is not None


def keeps_variables(os: Os) -> bool:
    """Whether the image is one that nobody writes to, so that its variables are elsewhere
    (virDomainDefHasOldStyleROUEFI)."""
    return is_uefi(os) and os.loader is not None and os.loader.readonly is True and os.loader.stateless is not True


def kind(os: Os) -> str | None:
    """What a guest sees of it: ``PFLASH``, ``ROM``, or ``None`` for what QEMU has by itself."""
    if os.firmware == EFI or is_uefi(os):
        return PFLASH
    return ROM if os.loader is not None and os.loader.path is not None else None


def complete(os: Os, name: str, folder: str) -> Os:
    """``os`` of the domain ``name`` with what libvirt fills in; ``folder`` is where this host keeps variables.

    Raises ``errors.XMLDetail`` for wishes that contradict each other.
    """
    loader, nvram = os.loader, _settled(os.nvram)
    if loader is not None:
        loader = replace(loader, type=loader.type or (ROM if loader.path else None))
        if loader == Loader() and os.firmware is not None:
            loader = None
    os = replace(os, firmware_wish=_wish(os.firmware_wish), loader=loader, nvram=nvram)
    if keeps_variables(os) and (nvram is None or nvram.path is None):
        return replace(os, nvram=replace(nvram or Nvram(), text=variables(folder, name)))
    # Nothing is said by it, unless there is no firmware at all, which is then missed.
    said = nvram != Nvram() or (os.firmware is None and (loader is None or loader.path is None))
    return os if said else replace(os, nvram=None)


def variables(folder: str, name: str) -> str:
    """Where the variables of the domain ``name`` are where nobody has said it (qemuDomainNVRAMPathFormat)."""
    return f"{folder}/{name}_VARS.fd"


def at_home(os: Os, folder: str) -> Os:
    """``os`` as another host has sent it: variables that are where a daemon keeps them are in ``folder`` here."""
    path = os.nvram.path if os.nvram else None
    return os if path is not None and path.startswith(f"{folder}/") else unplaced(os)


def unplaced(os: Os) -> Os:
    """``os`` as it travels: without a path that a daemon has made up, for another one makes up its own.

    libvirt's are in /var/lib/libvirt/qemu/nvram, or in a folder of the user's.
    """
    path = os.nvram.path if os.nvram else None
    made = path is not None and _MADE_UP.fullmatch(path)
    return replace(os, nvram=_unplaced(os.nvram)) if os.nvram and made else os


def _unplaced(nvram: Nvram) -> Nvram | None:
    bare = replace(nvram, type=None, source=None, text=None)
    return None if bare == Nvram() else bare


def _settled(nvram: Nvram | None) -> Nvram | None:
    if nvram is None:
        return None
    return replace(nvram, text=None) if nvram.source else nvram


def _wish(wish: FirmwareWish | None) -> FirmwareWish | None:
    """Each feature once, in libvirt's order; keys that are enrolled are those of secure boot."""
    if wish is None or not wish.features:
        return None
    told = {one.name: one.enabled for one in wish.features}
    if told.get("enrolled-keys"):
        if told.get("secure-boot") is False:
            raise errors.XMLDetail(
                "firmware feature 'enrolled-keys' cannot be enabled when firmware feature 'secure-boot' is disabled"
            )
        told["secure-boot"] = True
    return FirmwareWish(features=tuple(FirmwareFeature(name=name, enabled=told[name]) for name in sorted(told)))
