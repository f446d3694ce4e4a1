"""Who insists on a CPU gets it or no guest; with the names of what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.domain.cpu import Cpu, CpuFeature
from culvert.drivers.qemu import cpu_check, launch
from culvert.ground import errors
from tests.drivers.support import domain_xml, needs_qemu, running_driver

AVX, HYPERVISOR = "avx512f", "hypervisor"


@pytest.mark.parametrize(
    ("check", "features", "missing", "extra", "what"),
    [
        ("partial", (), (), (), None),
        ("partial", (), (), (HYPERVISOR,), None),
        ("partial", (), (AVX,), (), "required features: avx512f"),
        ("partial", (("force", AVX),), (AVX,), (), None),
        ("partial", (("force", "tsc_deadline"),), ("tsc-deadline",), (), None),
        ("full", (), (), (), None),
        ("full", (), (), (HYPERVISOR,), "extra features: hypervisor$"),
        ("full", (("require", HYPERVISOR),), (), (HYPERVISOR,), None),
        ("full", (), ("pcid", "hle"), (HYPERVISOR,), "extra features: hypervisor, missing features: hle,pcid"),
        ("full", (("force", AVX),), (AVX,), (), "missing features: avx512f"),
    ],
)
def test_judgement(
    check: str,
    features: tuple[tuple[str, str], ...],
    missing: tuple[str, ...],
    extra: tuple[str, ...],
    what: str | None,
) -> None:
    wanted = Cpu(check=check, features=tuple(CpuFeature(policy=policy, name=name) for policy, name in features))
    if what is None:
        cpu_check.judge("g", wanted, missing, extra)
        return
    refusal = errors.OperationFailed if check == "full" else errors.CpuIncompatible
    with pytest.raises(refusal, match=what):
        cpu_check.judge("g", wanted, missing, extra)


CPU = "<cpu mode='custom' match='exact' check='{}'><model>{}</model>{}</cpu>"


@needs_qemu
async def test_no_lesser_cpu_is_started(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        for check, refusal in (("partial", errors.CpuIncompatible), ("full", errors.OperationFailed)):
            with pytest.raises(refusal, match=r"features: .*pcid"):
                await driver.create_xml(domain_xml("g", extra=CPU.format(check, "Haswell", "")))
            assert driver.domains() == []
        with pytest.raises(errors.OperationFailed, match=r"extra features: hypervisor$"):
            await driver.create_xml(domain_xml("g", extra=CPU.format("full", "Nehalem", "")))
        domain = await driver.define_xml(domain_xml("g", extra=CPU.format("partial", "Haswell", "")))
        with pytest.raises(errors.CpuIncompatible, match="pcid"):
            await launch.start(domain)
        assert not domain.is_active


@needs_qemu
@pytest.mark.parametrize(
    "cpu",
    [
        CPU.format("none", "Haswell", ""),
        CPU.format("partial", "Nehalem", ""),
        CPU.format("full", "Nehalem", "<feature policy='require' name='hypervisor'/>"),
        "<cpu mode='maximum' check='full'/>",
        "<cpu check='full'/>",
    ],
)
async def test_who_gets_what_he_insists_on_starts(tmp_path: Path, cpu: str) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", extra=cpu))
        assert domain.is_active
        shown = await domain.xml()
        assert "<resource>\n    <partition>/machine</partition>\n  </resource>" in shown
