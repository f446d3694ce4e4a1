"""Whether a QEMU that was started has the processor that its definition insists on.

QEMU leaves out what its accelerator lacks, with a line in its log. ``check='partial'`` says that nothing may be
missing, ``check='full'`` that nothing may be there besides either. Only a named model says what there should be.

Source: docs/formatdomain, "CPU model and topology"; tried out with libvirt 9.0, which says under TCG of ``full`` what
it is told here: QEMU puts ``hypervisor`` into every processor, so who wants ``full`` names it.
"""

from __future__ import annotations

from collections.abc import Collection

from culvert.domain.cpu import Cpu
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors

INSISTING = frozenset({"partial", "full"})

ADDED = "hypervisor"  # what QEMU's processors have beside what is written of their models


async def verify(domain: Domain, *, arriving: bool = False) -> None:
    """Look at the QEMU of ``domain``, which stands still. ``arriving``: for a guest that has run with another one.

    Raises ``errors.CpuIncompatible`` (partial) or ``errors.OperationFailed`` (full), as libvirt does, with the names
    of the features.
    """
    wanted = domain.require_active().definition.cpu
    if wanted is None or wanted.check not in INSISTING or wanted.mode != "custom":
        return
    hypervisor = domain.hypervisor
    missing = await hypervisor.missing_cpu_features()
    extra = [ADDED] if wanted.check == "full" and not arriving and await hypervisor.has_cpu_feature(ADDED) else []
    judge(domain.name, wanted, missing, extra)


def judge(name: str, wanted: Cpu, missing: Collection[str], extra: Collection[str]) -> None:
    """Raise as ``verify`` for what is ``missing`` of ``wanted`` in domain ``name``, or there besides."""
    named = {spelled(feature.name): feature.policy for feature in wanted.features}
    besides = sorted(one for one in extra if named.get(spelled(one)) not in ("require", "force"))
    if wanted.check == "full" and (missing or besides):
        parts = (("extra", besides), ("missing", sorted(missing)))
        told = ", ".join(f"{what} features: {','.join(names)}" for what, names in parts if names)
        raise errors.OperationFailed(
            f"operation failed: domain '{name}': its CPU is not the one that check='full' insists on: {told}"
        )
    lacking = sorted(one for one in missing if named.get(spelled(one)) != "force")
    if wanted.check == "partial" and lacking:
        raise errors.CpuIncompatible(
            f"the CPU is incompatible with host CPU: domain '{name}': this host cannot give it required features:"
            f" {', '.join(lacking)} (check='none' starts it without them)"
        )


def spelled(name: str) -> str:
    """libvirt's and QEMU's spelling of a feature as one."""
    return name.replace("_", "-").replace(".", "-")
