"""The processor a domain is started with, and the one a migration cookie names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from culvert.domain import cpu, start
from culvert.domain.cpu import Cpu, CpuFeature, CpuModel, CpuTopology
from culvert.domain.parse import parse_cpu
from culvert.ground import errors
from tests.domain import golden


def test_under_tcg_host_model_is_all_that_is_emulated() -> None:
    topology = CpuTopology(sockets=1, dies=1, cores=2, threads=1)
    configured = Cpu(mode="host-model", check="partial", topology=topology)
    assert cpu.as_started(configured, "qemu") == Cpu(mode="maximum", check="none", topology=topology)


def test_under_kvm_host_model_is_refused_with_a_way_out() -> None:
    with pytest.raises(errors.ConfigUnsupported, match="use 'host-passthrough'"):
        cpu.as_started(Cpu(mode="host-model"), "kvm")


@pytest.mark.parametrize("mode", ["custom", "maximum", "host-passthrough"])
def test_other_modes_stay(mode: str) -> None:
    assert cpu.as_started(Cpu(mode=mode), "kvm") == Cpu(mode=mode)


def test_a_start_settles_the_cpu_and_names_the_devices() -> None:
    definition = replace(golden.complete("pc-minimal"), cpu=Cpu(mode="host-model", check="partial"))
    started = start.prepare(definition)
    assert started.cpu == Cpu(mode="maximum", check="none")
    assert started.devices.memballoon is not None
    assert started.devices.memballoon.alias == "balloon0"


def test_the_cpu_of_a_cookie() -> None:
    text = """<cpu mode='custom' match='exact' check='full'><model fallback='forbid'>qemu64</model>
    <feature policy='disable' name='pni'/></cpu>"""
    assert parse_cpu(text) == Cpu(
        mode="custom",
        match="exact",
        check="full",
        model=CpuModel(fallback="forbid", name="qemu64"),
        features=(CpuFeature(policy="disable", name="pni"),),
    )
    with pytest.raises(errors.XMLError, match="expecting <cpu>"):
        parse_cpu("<domain/>")
