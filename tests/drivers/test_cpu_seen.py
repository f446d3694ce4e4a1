"""The processor of a running guest, as its live XML tells it: what libvirt 9.0 has said of the same, under TCG."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from culvert.domain import parse
from culvert.domain.cpu import Cpu, CpuFeature, CpuModel
from culvert.drivers.qemu import cpu_seen
from culvert.drivers.qemu.cpu_seen import Seen
from culvert.protocol.constants_flag import XMLFlag
from tests.drivers.support import domain_xml, needs_qemu, running_driver
from tests.support import generation

FEATURES = "".join(
    f"<feature policy='{policy}' name='{name}'/>" for policy, name in (("force", "pcid"), ("forbid", "avx"))
)
CPUS = {
    "<cpu mode='custom' match='exact' check='partial'><model>Nehalem</model></cpu>": {"hypervisor": "require"},
    "<cpu mode='custom' match='exact' check='partial'><model>Penryn</model>"
    "<feature policy='disable' name='ssse3'/></cpu>": {"ssse3": "disable", "hypervisor": "require"},
    "<cpu mode='custom' match='exact' check='full'><model>Nehalem</model>"
    "<feature policy='require' name='hypervisor'/></cpu>": {"hypervisor": "require"},
    f"<cpu mode='custom' match='exact' check='none'><model>Haswell</model>{FEATURES}</cpu>": {
        "pcid": "disable",
        "avx": "forbid",
        "hypervisor": "require",
        **dict.fromkeys(generation.HASWELL_LACKS.here, "disable"),
    },
}
"""What is asked for → what is shown. Of Haswell libvirt names five more, which its own model lacks."""


def policies(xml: str) -> dict[str, str]:
    """Of the ``<cpu>`` in ``xml``: feature → policy."""
    found = etree.fromstring(xml).iterfind("cpu/feature")
    return {feature.get("name", ""): feature.get("policy", "") for feature in found}


@needs_qemu
@pytest.mark.parametrize("cpu", CPUS)
async def test_what_qemu_has_given_is_told_of_what_runs(tmp_path: Path, cpu: str) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", extra=cpu))
        live, migratable = await domain.xml(), await domain.xml(XMLFlag.MIGRATABLE)
        assert policies(live) == CPUS[cpu]
        assert "match='exact' check='full'>" in live
        assert "<model fallback='forbid'>" in live
        assert policies(migratable) == policies(f"<domain>{cpu}</domain>"), "elsewhere it is started as it was here"
        assert parse.parse(live).cpu == domain.as_it_runs.cpu, "and is the same machine when it is read again"


def test_names_are_libvirt_s() -> None:
    asked = Cpu(mode="custom", match="exact", check="none", model=CpuModel(fallback="allow", name="EPYC"))
    shown = cpu_seen.shown(asked, Seen(frozenset({"fxsr-opt", "nrip-save", "sha-ni"}), added=False))
    assert shown is not None
    assert shown.features == tuple(
        CpuFeature(policy="disable", name=name) for name in ("fxsr_opt", "nrip-save", "sha-ni")
    )


@pytest.mark.parametrize("cpu", [None, Cpu(mode="maximum", check="none"), Cpu(mode="host-passthrough")])
def test_only_a_named_model_says_what_there_should_be(cpu: Cpu | None) -> None:
    assert cpu_seen.shown(cpu, Seen(frozenset({"avx"}), added=True)) is cpu
