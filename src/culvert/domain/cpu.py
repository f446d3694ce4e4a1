"""``<cpu>`` and ``<vcpu>``: the processor the guest sees and how many of it.

Source: docs/formatdomain, "CPU model and topology" and "CPU Allocation".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain import numa as nodes
from culvert.domain.binding import BLANK, DEFAULT, attribute, child, children, content, leaf
from culvert.domain.scalars import CPU_SET, ON_OFF, TOKEN, UINT, YES_NO, Integer, Pattern, one_of
from culvert.ground import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Vcpu:
    """``count`` processors at most, ``current`` of them present at start (all, when None). ``cpuset``: those of the
    host that the guest runs on where nothing else is said."""

    placement: Annotated[str | None, attribute("placement", one_of("static", "auto"))] = None
    cpuset: Annotated[frozenset[int] | None, attribute("cpuset", CPU_SET)] = None
    current: Annotated[int | None, attribute("current", Integer(low=1, high=4096))] = None
    count: Annotated[int, content(Integer(low=1, high=4096))]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneVcpu:
    """One processor. ``enabled``: it is there; ``hotpluggable``: it was plugged in, or can be; ``order``: when it
    came, from 1 on."""

    id: Annotated[int, attribute("id", Integer(high=4095))]
    enabled: Annotated[bool, attribute("enabled", YES_NO)]
    hotpluggable: Annotated[bool | None, attribute("hotpluggable", YES_NO)] = None
    order: Annotated[int | None, attribute("order", Integer(low=1, high=4096))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VcpuStates:
    """``<vcpus>``: the processors one by one; ``domain.vcpus`` says what it means."""

    states: Annotated[tuple[OneVcpu, ...], children("vcpu", OneVcpu)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuModel:
    """The model's name; ``fallback='forbid'``: this one or none."""

    fallback: Annotated[str | None, attribute("fallback", one_of("allow", "forbid"), silent=BLANK)] = None
    vendor_id: Annotated[
        str | None, attribute("vendor_id", Pattern(r"[^,]{12}", "vendor id of 12 characters"), silent=BLANK)
    ] = None
    name: Annotated[str | None, content(TOKEN)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTopology:
    """How the processors are arranged; their product is the number of vcpus."""

    sockets: Annotated[int, attribute("sockets", Integer(low=1, high=4096))]
    dies: Annotated[int | None, attribute("dies", Integer(low=1, high=4096))] = None
    clusters: Annotated[int | None, attribute("clusters", Integer(low=1, high=1))] = None
    """A PC has none; libvirt since 10.0 says so by a 1."""
    cores: Annotated[int, attribute("cores", Integer(low=1, high=4096))]
    threads: Annotated[int, attribute("threads", Integer(low=1, high=4096))]

    @property
    def count(self) -> int:
        return self.sockets * (self.dies or 1) * self.cores * self.threads


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuCache:
    """The cache that the guest sees: one that is emulated, the host's, or none."""

    level: Annotated[int | None, attribute("level", Integer(high=2**31 - 1))] = None
    mode: Annotated[str, attribute("mode", one_of("emulate", "passthrough", "disable"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPhysAddr:
    """How many bits an address of the guest's memory has; ``limit``: at most, of the host's."""

    mode: Annotated[str, attribute("mode", one_of("emulate", "passthrough"))]
    bits: Annotated[int | None, attribute("bits", UINT)] = None
    limit: Annotated[int | None, attribute("limit", UINT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuFeature:
    """One feature switched on (require, force) or off (disable, forbid)."""

    policy: Annotated[str, attribute("policy", one_of("force", "require", "optional", "disable", "forbid"))] = (
        "require"
    )
    name: Annotated[str, attribute("name", TOKEN)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """``<cpu>``."""

    mode: Annotated[str | None, attribute("mode", one_of("custom", "host-model", "host-passthrough", "maximum"))] = (
        None
    )
    match: Annotated[str | None, attribute("match", one_of("minimum", "exact", "strict"))] = None
    check: Annotated[str | None, attribute("check", one_of("none", "partial", "full"), silent=DEFAULT)] = None
    migratable: Annotated[bool | None, attribute("migratable", ON_OFF)] = None
    model: Annotated[CpuModel | None, child("model", CpuModel)] = None
    vendor: Annotated[str | None, leaf("vendor", TOKEN, silent=BLANK)] = None
    topology: Annotated[CpuTopology | None, child("topology", CpuTopology)] = None
    cache: Annotated[CpuCache | None, child("cache", CpuCache)] = None
    maxphysaddr: Annotated[MaxPhysAddr | None, child("maxphysaddr", MaxPhysAddr)] = None
    features: Annotated[tuple[CpuFeature, ...], children("feature", CpuFeature)] = ()
    numa: Annotated[nodes.Numa | None, child("numa", nodes.Numa)] = None


def as_started(configured: Cpu, domain_type: str) -> Cpu:
    """``configured`` as a domain is started with it, so that the same processor is started on every host.

    Under TCG ``host-model`` is all that QEMU emulates, whatever the host: QEMU's ``max``, libvirt's ``maximum``.

    Raises ``errors.ConfigUnsupported`` for ``host-model`` under KVM: which model comes nearest to a host's processor
    is libvirt's own knowledge (its cpu_map), and QEMU would not notice a wrong one.
    """
    if configured.mode != "host-model":
        return configured
    if domain_type != "qemu":
        raise errors.ConfigUnsupported(
            "unsupported configuration: CPU mode 'host-model' is not supported by culvert for domains of type 'kvm':"
            " name a model (mode 'custom') or use 'host-passthrough'"
        )
    return replace(configured, mode="maximum", check="none")
