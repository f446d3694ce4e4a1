"""Processors compared by their features."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.domain.cpu import Cpu, CpuFeature, CpuModel
from culvert.domain.parse import parse_cpu
from culvert.drivers.qemu.abilities import cpumodels
from culvert.drivers.qemu.abilities.machines import Machines
from culvert.ground import errors
from culvert.protocol.constants_state import CPUCompare

KNOWN = Machines(
    emulator="/usr/bin/qemu",
    version=7_002_022,
    machines=(),
    cpu_models=(),
    kvm=False,
    features={
        "max": ("a", "b", "c", "d-e", "hypervisor"),
        "old": ("a", "hypervisor"),
        "mid": ("a", "b", "hypervisor"),
        "new": ("a", "b", "c", "x", "hypervisor"),
    },
)


def cpu(name: str, *on: str, off: tuple[str, ...] = ()) -> Cpu:
    told = [CpuFeature(policy="require", name=each) for each in on]
    told += [CpuFeature(policy="disable", name=each) for each in off]
    return Cpu(mode="custom", model=CpuModel(name=name), features=tuple(told))


CPUS = st.builds(
    lambda name, on, off: cpu(name, *(on - off), off=tuple(off)),
    st.sampled_from(["old", "mid", "new"]),
    st.frozensets(st.sampled_from("abcx")),
    st.frozensets(st.sampled_from("abcx")),
)


@pytest.mark.parametrize(
    ("one", "result"),
    [
        (cpu("mid"), CPUCompare.SUPERSET),
        (cpu("new"), CPUCompare.INCOMPATIBLE),
        (cpu("new", off=("x",)), CPUCompare.SUPERSET),
        (cpu("mid", "c", "d_e"), CPUCompare.IDENTICAL),
        (Cpu(mode="maximum"), CPUCompare.IDENTICAL),
    ],
)
def test_compare(one: Cpu, result: CPUCompare) -> None:
    assert cpumodels.compare(KNOWN, one, insist=False) is result


def test_what_is_missing_is_named() -> None:
    with pytest.raises(errors.CPUIncompatible, match="required features: x"):
        cpumodels.compare(KNOWN, cpu("new"), insist=True)
    with pytest.raises(errors.InternalError, match="Unknown CPU model none"):
        cpumodels.compare(KNOWN, cpu("none"), insist=True)


@given(st.lists(CPUS, min_size=1, max_size=4), st.booleans())
def test_a_baseline_is_what_all_have(cpus: list[Cpu], expand: bool) -> None:
    found = parse_cpu(cpumodels.baseline(KNOWN, cpus, expand=expand))
    common = frozenset.intersection(*(cpumodels.features(KNOWN, each) for each in cpus))
    assert cpumodels.features(KNOWN, found) == common


def test_a_baseline_of_one_is_itself() -> None:
    assert parse_cpu(cpumodels.baseline(KNOWN, [cpu("mid")], expand=False)).model == CpuModel(
        fallback="forbid", name="mid"
    )


@pytest.mark.parametrize("asked", [("/bin/true", None, None), (None, "vax", None), (None, None, "kvm")])
def test_only_emulation_is_known(asked: tuple[str | None, str | None, str | None]) -> None:
    with pytest.raises((errors.InvalidArgument, errors.ConfigUnsupported)):
        cpumodels.emulated(KNOWN, *asked)
