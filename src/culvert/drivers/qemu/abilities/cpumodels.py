"""Processors compared and brought to a common denominator, by the features that QEMU says its models have.

Only under emulation: what a host's processor offers under KVM is not asked of it here.
"""

from __future__ import annotations

from collections.abc import Sequence

from culvert.domain import binding, xml
from culvert.domain.cpu import Cpu, CpuFeature, CpuModel
from culvert.drivers.qemu.abilities.machines import Machines
from culvert.ground import errors
from culvert.protocol.constants_state import CPUCompare

ALL = "max"  # QEMU's name of everything it can emulate
# Says that there is a hypervisor, which is no property of a processor to choose by.
_NO_FEATURE = frozenset({"hypervisor"})
_ON = ("require", "force")


def features(known: Machines, cpu: Cpu) -> frozenset[str]:
    """What a guest with this processor sees. Raises ``errors.InternalError`` for a model that QEMU does not have."""
    whole = _of_model(known, ALL)
    if cpu.mode in ("host-passthrough", "host-model", "maximum"):
        found = whole
    elif cpu.model is None or not cpu.model.name:
        raise errors.XMLError("XML error: <cpu> without a <model>")
    else:
        found = _of_model(known, cpu.model.name)
    on = {_spelled(known, one.name) for one in cpu.features if one.policy in _ON}
    off = {_spelled(known, one.name) for one in cpu.features if one.policy not in _ON}
    return (found | on) - off


def compare(known: Machines, cpu: Cpu, *, insist: bool) -> CPUCompare:
    """How what QEMU emulates stands to ``cpu``.

    With ``insist`` raises ``errors.CPUIncompatible`` with what is missing, in the place of INCOMPATIBLE.
    """
    wanted, there = features(known, cpu), _of_model(known, ALL)
    missing = sorted(wanted - there)
    if missing and insist:
        raise errors.CPUIncompatible(f"Host CPU does not provide required features: {', '.join(missing)}")
    if missing:
        return CPUCompare.INCOMPATIBLE
    return CPUCompare.IDENTICAL if wanted == there else CPUCompare.SUPERSET


def baseline(known: Machines, cpus: Sequence[Cpu], *, expand: bool) -> str:
    """The richest processor that is none of ``cpus`` too much: the XML of a ``<cpu>``.

    Of all models the one that needs least said beside it, those first from which nothing is taken
    away. ``expand``: every feature is named.
    """
    if not cpus:
        raise errors.InvalidArgument("invalid argument: no CPUs given")
    common = frozenset.intersection(*(features(known, cpu) for cpu in cpus))
    given = {cpu.model.name for cpu in cpus if cpu.model}

    def price(name: str) -> tuple[bool, int, bool, str]:
        model = _of_model(known, name)
        return bool(model - common), len(model ^ common), name not in given, name

    best = min((name for name in known.features if name != ALL), key=price)
    model = _of_model(known, best)
    required = common if expand else common - model
    told = [CpuFeature(policy="require", name=name) for name in sorted(required)]
    told += [CpuFeature(policy="disable", name=name) for name in sorted(model - common)]
    cpu = Cpu(mode="custom", match="exact", model=CpuModel(fallback="forbid", name=best), features=tuple(told))
    return xml.render(binding.write(cpu, "cpu"))


def emulated(known: Machines, emulator: str | None, arch: str | None, virttype: str | None) -> None:
    """Raise ``errors.InvalidArgument`` for another emulator, ``errors.ConfigUnsupported`` for KVM."""
    if emulator not in (None, known.emulator) or arch not in (None, "x86_64"):
        raise errors.InvalidArgument(f"invalid argument: there is no emulator '{emulator}' for '{arch}' here")
    if (virttype or ("kvm" if known.kvm else "qemu")) != "qemu":
        raise errors.ConfigUnsupported(
            "unsupported configuration: processors are compared for virt type 'qemu' only: what the host's processor"
            " offers under KVM is not known to culvert"
        )


def _of_model(known: Machines, name: str) -> frozenset[str]:
    if name not in known.features:
        raise errors.InternalError(f"internal error: Unknown CPU model {name}")
    return frozenset(known.features[name]) - _NO_FEATURE


def _spelled(known: Machines, name: str) -> str:
    """A feature in QEMU's spelling."""
    return name if name in known.features[ALL] else name.replace("_", "-")
