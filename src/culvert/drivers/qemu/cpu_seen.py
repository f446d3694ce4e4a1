"""The processor that a running guest has got, as its live XML tells it: what was asked for, and what became of it.

libvirt compares what QEMU says with its own description of the model (its cpu_map, which is not used here) and names
what is more or less than that. Less is known to QEMU too: what it cannot give is ``disable``. Of more only
``hypervisor`` is, which QEMU puts into every processor; that a model has more in QEMU than in libvirt's books
(``lahf_lm`` of qemu64) is not told here.

Source: qemu/qemu_process.c and cpu/cpu_x86.c (virCPUx86UpdateLive) of libvirt 9.0; tried out with it under TCG.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from culvert.domain.cpu import Cpu, CpuFeature
from culvert.drivers.qemu.cpu_check import ADDED, spelled
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors

log = logging.getLogger(__name__)

# QEMU's names of features → libvirt's, where they differ (cpu_map/x86_features.xml of libvirt 9.0).
_LIBVIRT_SAYS = {
    name.replace("_", "-"): name
    for name in ("cmp_legacy", "ds_cpl", "fxsr_opt", "lahf_lm", "nodeid_msr", "perfctr_core", "perfctr_nb")
} | {"sse4-1": "sse4.1", "sse4-2": "sse4.2", "tsc-adjust": "tsc_adjust", "svm-lock": "svm_lock"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What QEMU has said of a guest's processor: what it ``lacks``, in its names; ``added``: it has ``ADDED``."""

    lacks: frozenset[str]
    added: bool


async def learn(domain: Domain) -> None:
    """Ask the QEMU of ``domain``, for as long as it runs. What it does not say is not shown."""
    run = domain.require_active()
    try:
        lacks = frozenset(await domain.hypervisor.missing_cpu_features())
        cpu = shown(run.definition.cpu, Seen(lacks, await domain.hypervisor.has_cpu_feature(ADDED)))
    except errors.RequestError as err:
        log.info("domain=%s QEMU does not say what processor it has: %s", domain.name, err)
    else:
        run.cpu = cpu


def shown(asked: Cpu | None, seen: Seen) -> Cpu | None:
    """``asked``, and what became of it. Only of a named model there is more to say."""
    if asked is None or asked.mode != "custom" or asked.model is None or asked.model.name is None:
        return asked
    lacks = {spelled(name): name for name in seen.lacks}
    named = {spelled(feature.name) for feature in asked.features}
    features = [
        replace(feature, policy="disable")
        if spelled(feature.name) in lacks and feature.policy in ("require", "force")
        else feature
        for feature in asked.features
    ]
    if seen.added and ADDED not in named:
        features.append(CpuFeature(policy="require", name=ADDED))
    features += [
        CpuFeature(policy="disable", name=_LIBVIRT_SAYS.get(name, lacks[name]))
        for name in sorted(lacks.keys() - named)
    ]
    return replace(asked, check="full", model=replace(asked.model, fallback="forbid"), features=tuple(features))
