"""``<tpm>``: a trusted platform module, emulated by a program of its own beside QEMU.

Source: docs/formatdomain, "TPM device"; conf/domain_conf.c, qemu/qemu_domain.c of libvirt 9.0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain.binding import ANY, attribute, child, flag, lone
from culvert.domain.scalars import ANY_TEXT, UUID, YES_NO, one_of

CRB, TIS = "tpm-crb", "tpm-tis"


@dataclass(frozen=True, slots=True, kw_only=True)
class PcrBanks:
    """Which hashes a TPM 2.0 keeps its measurements by."""

    sha1: Annotated[bool, flag("sha1")] = False
    sha256: Annotated[bool, flag("sha256")] = False
    sha384: Annotated[bool, flag("sha384")] = False
    sha512: Annotated[bool, flag("sha512")] = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in ("sha1", "sha256", "sha384", "sha512") if getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmBackend:
    """``persistent_state``: what it has kept outlives a transient domain, and the definition."""

    type: Annotated[str, attribute("type", one_of("emulator"))]
    version: Annotated[str | None, attribute("version", one_of("1.2", "2.0"))] = None
    persistent_state: Annotated[bool | None, attribute("persistent_state", YES_NO, silent=("no",))] = None
    encryption: Annotated[str | None, lone("encryption", "secret", UUID)] = None
    active_pcr_banks: Annotated[PcrBanks | None, child("active_pcr_banks", PcrBanks, hollow=ANY)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tpm:
    """What the guest sees of it is ``model``."""

    model: Annotated[str | None, attribute("model", one_of(TIS, CRB))] = None
    backend: Annotated[TpmBackend, child("backend", TpmBackend)]
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None


def complete(tpm: Tpm) -> Tpm:
    """``tpm`` with what libvirt fills in: the two versions do not go together, so one of them is chosen."""
    model = tpm.model or TIS
    version = tpm.backend.version or ("2.0" if model == CRB else "1.2")
    return replace(tpm, model=model, backend=replace(tpm.backend, version=version))
