"""``<domain>``: the definition of a domain, as a frozen value.

What is ``None`` or empty was not said; ``defaults.complete`` fills in what libvirt would. Changes are made with
``dataclasses.replace``.
"""

from __future__ import annotations

import uuid as uuids
from dataclasses import dataclass, field
from typing import Annotated

from culvert.domain import iothreads
from culvert.domain.binding import ANY, BLANK, DEFAULT, amount, attribute, beside, child, children, leaf, verbatim
from culvert.domain.cpu import Cpu, Vcpu, VcpuStates
from culvert.domain.devices import Devices
from culvert.domain.features import Features
from culvert.domain.iothreads import DefaultIOThread, IOThread, IOThreadIds
from culvert.domain.limits import BlkioTune, MemTune
from culvert.domain.memory_device import MaxMemory
from culvert.domain.passthrough import SPACE, QemuCapabilities, QemuCommandline, QemuDeprecation
from culvert.domain.platform import Clock, IdMap, MemoryBacking, Os, Perf, Pm, Resource, Seclabel
from culvert.domain.scalars import ANY_TEXT, NAME, ON_OFF, UINT, UUID, OptionalUuid, one_of
from culvert.domain.sysinfo import Sysinfo
from culvert.domain.tuning import CpuTune, NumaTune

GENID = OptionalUuid()
LOCK_FAILURE = one_of("poweroff", "restart", "pause", "ignore")
LIFECYCLE = one_of("destroy", "restart", "preserve", "rename-restart")


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainDef:
    """The definition of a domain. ``memory`` (with all modules) and ``current_memory`` in KiB; ``id`` is set in a
    running one only."""

    type: Annotated[str, attribute("type", one_of("qemu", "kvm"))]
    id: Annotated[int | None, attribute("id", UINT)] = None
    name: Annotated[str, leaf("name", NAME)]
    uuid: Annotated[str | None, leaf("uuid", UUID, silent=BLANK)] = None
    genid: Annotated[str | None, leaf("genid", GENID)] = None
    title: Annotated[str | None, leaf("title", ANY_TEXT, silent=BLANK)] = None
    description: Annotated[str | None, leaf("description", ANY_TEXT, silent=BLANK)] = None
    metadata: Annotated[str | None, verbatim("metadata")] = None
    max_memory: Annotated[MaxMemory | None, child("maxMemory", MaxMemory)] = None
    memory: Annotated[int, amount("memory")] = 0
    dump_core: Annotated[bool | None, beside("memory", "dumpCore", ON_OFF)] = None
    current_memory: Annotated[int | None, amount("currentMemory")] = None
    blkiotune: Annotated[BlkioTune | None, child("blkiotune", BlkioTune, hollow=ANY)] = None
    memtune: Annotated[MemTune | None, child("memtune", MemTune, hollow=ANY)] = None
    memory_backing: Annotated[MemoryBacking | None, child("memoryBacking", MemoryBacking, hollow=ANY)] = None
    vcpu: Annotated[Vcpu | None, child("vcpu", Vcpu)] = None
    vcpu_states: Annotated[VcpuStates | None, child("vcpus", VcpuStates)] = None
    iothreads: Annotated[int | None, leaf("iothreads", UINT, silent=("0",))] = None
    iothread_ids: Annotated[IOThreadIds | None, child("iothreadids", IOThreadIds, hollow=ANY)] = None
    default_iothread: Annotated[DefaultIOThread | None, child("defaultiothread", DefaultIOThread, hollow=ANY)] = None
    cputune: Annotated[CpuTune | None, child("cputune", CpuTune, hollow=ANY)] = None
    numatune: Annotated[NumaTune | None, child("numatune", NumaTune, hollow=ANY)] = None
    resource: Annotated[Resource | None, child("resource", Resource)] = None
    sysinfo: Annotated[tuple[Sysinfo, ...], children("sysinfo", Sysinfo)] = ()
    os: Annotated[Os, child("os", Os)]
    idmap: Annotated[IdMap | None, child("idmap", IdMap, hollow=ANY)] = None
    features: Annotated[Features | None, child("features", Features, hollow=ANY)] = None
    cpu: Annotated[Cpu | None, child("cpu", Cpu)] = None
    clock: Annotated[Clock | None, child("clock", Clock)] = None
    on_poweroff: Annotated[str | None, leaf("on_poweroff", LIFECYCLE, silent=BLANK)] = None
    on_reboot: Annotated[str | None, leaf("on_reboot", LIFECYCLE, silent=BLANK)] = None
    on_crash: Annotated[str | None, leaf("on_crash", LIFECYCLE, silent=BLANK)] = None
    on_lockfailure: Annotated[str | None, leaf("on_lockfailure", LOCK_FAILURE, silent=(*BLANK, *DEFAULT))] = None
    pm: Annotated[Pm | None, child("pm", Pm, hollow=ANY)] = None
    perf: Annotated[Perf | None, child("perf", Perf, hollow=ANY)] = None
    devices: Annotated[Devices, child("devices", Devices)] = field(default_factory=Devices)
    seclabels: Annotated[tuple[Seclabel, ...], children("seclabel", Seclabel)] = ()
    qemu_commandline: Annotated[QemuCommandline | None, child(f"{SPACE}commandline", QemuCommandline, hollow=ANY)] = (
        None
    )
    qemu_capabilities: Annotated[
        QemuCapabilities | None, child(f"{SPACE}capabilities", QemuCapabilities, hollow=ANY)
    ] = None
    qemu_deprecation: Annotated[QemuDeprecation | None, child(f"{SPACE}deprecation", QemuDeprecation)] = None

    @property
    def io_threads(self) -> tuple[IOThread, ...]:
        """QEMU's threads for the work of disks."""
        return iothreads.of(self.iothreads, self.iothread_ids)

    @property
    def vcpus(self) -> int:
        """How many processors the guest can have."""
        return self.vcpu.count if self.vcpu else 1

    @property
    def current_vcpus(self) -> int:
        """How many processors the guest has, or starts with."""
        return (self.vcpu.current if self.vcpu else None) or self.vcpus

    @property
    def uuid_bytes(self) -> bytes:
        """The UUID's 16 bytes, as they travel. Only of a definition that has one."""
        assert self.uuid is not None
        return uuids.UUID(self.uuid).bytes

    @property
    def machine(self) -> str:
        """The machine type; empty while it is not said."""
        return self.os.type.machine or ""

    @property
    def is_q35(self) -> bool:
        return "q35" in self.machine
