"""The guest's processor on its way: what it really has counts, not what its XML asks for.

A source may have started a CPU that its XML does not spell out (libvirt expands ``host-model``, and a model of which
the accelerator lacks a feature). The XML travels with the CPU that was *configured*, the cookie with the one that
*runs*; the destination starts the second and keeps the first for when the guest moves on. QEMU itself loads a guest
into whatever CPU there is, so the destination looks before anything is sent.

Source: qemu/qemu_migration_cookie.c (``<cpu>``) and qemu/qemu_process.c (qemuProcessVerifyCPU) of libvirt 9.0.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace

from culvert.domain import binding, xml
from culvert.domain import parse as xml_parse
from culvert.domain.cpu import Cpu
from culvert.domain.definition import DomainDef
from culvert.ground import errors
from culvert.hypervisor.contract import Guest
from culvert.migration.options.cookie import Cookie

log = logging.getLogger(__name__)

CONFIGURED = "cpu.configured"  # in the domain's status: the CPU its XML asks for, where another one runs

# The values of ``check`` with which libvirt starts no guest on a host that lacks a feature of its CPU.
VERIFIED = frozenset({"partial", "full"})


def obey(definition: DomainDef, theirs: Cookie) -> DomainDef:
    """``definition`` with the CPU that the guest has, where the cookie tells.

    Raises ``errors.ConfigUnsupported`` naming what is said of that CPU and not known here.
    """
    return definition if theirs.cpu_xml is None else replace(definition, cpu=xml_parse.parse_cpu(theirs.cpu_xml))


def check_model(definition: DomainDef, models: Collection[str]) -> None:
    """Raise ``errors.CpuIncompatible`` when the emulator has no CPU of that name."""
    model = definition.cpu.model if definition.cpu else None
    if model is not None and model.name is not None and model.name not in models:
        raise errors.CpuIncompatible(
            f"the CPU is incompatible with this host: /domain/cpu/model '{model.name}' is not known to its emulator"
        )


async def verify(domain: Guest) -> None:
    """Raise ``errors.CpuIncompatible`` when this host cannot give the waiting guest each feature of its CPU.

    Not asked for by ``check='none'``: then QEMU leaves out what it cannot give, here as at the source.
    """
    wanted = domain.definition.cpu
    if wanted is None or wanted.check not in VERIFIED:
        return
    if missing := await domain.hypervisor.missing_cpu_features():
        named = ", ".join(f"/domain/cpu/feature '{name}'" for name in missing)
        raise errors.CpuIncompatible(
            f"the CPU is incompatible with this host: it cannot provide {named} to domain '{domain.name}'"
        )


def remember(domain: Guest, configured: Cpu | None) -> None:
    """Keep ``configured`` for when the arriving ``domain`` leaves again; on the disk with its next annotation."""
    if configured is not None and configured != domain.definition.cpu:
        domain.annotations[CONFIGURED] = render(configured)


def configured(domain: Guest) -> DomainDef:
    """The definition with the CPU as it was configured: the one that travels as XML."""
    kept = domain.annotations.get(CONFIGURED)
    return domain.definition if kept is None else replace(domain.definition, cpu=xml_parse.parse_cpu(kept))


def running(domain: Guest) -> str | None:
    """The ``<cpu>`` for the cookie: what really runs, where the XML does not say it."""
    cpu = domain.definition.cpu
    return render(cpu) if CONFIGURED in domain.annotations and cpu is not None else None


def render(cpu: Cpu) -> str:
    """``<cpu>`` as XML text."""
    return xml.render(binding.write(cpu, "cpu"))
