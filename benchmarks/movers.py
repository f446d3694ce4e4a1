"""Every way of moving a guest that is compared: a row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.stage import Ground, Stage
from benchmarks.stage_culvert import CulvertStage
from benchmarks.stage_kept import KeptStage
from benchmarks.stage_libvirt import LibvirtStage
from benchmarks.stage_qemu import QemuStage
from benchmarks.stage_ssh import SshStage

STAGES: dict[str, Callable[[Ground], Stage]] = {
    "qemu": QemuStage,
    "ssh": SshStage,
    "libvirt": LibvirtStage,
    "culvert": CulvertStage,
    "culvert-kept": KeptStage,
}


@dataclass(frozen=True, slots=True)
class Mover:
    """``stage``: of ``STAGES``; ``way``: that stage's words; ``workloads``: names, or none for all."""

    name: str
    what: str
    stage: str
    way: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()


_TWO = ("--parallel", "--parallel-connections", "2")
_COMPRESSIBLE = ("incompressible", "text", "dirty-150")

MOVERS = (
    Mover("qemu-tcp", "QEMU to QEMU, clear-text TCP, driven by hand", "qemu"),
    Mover("qemu-tls-1", "QEMU's own TLS, one channel", "qemu", ("tls",)),
    Mover("qemu-tls-2", "QEMU's own TLS, multifd with two channels", "qemu", ("tls", "multifd")),
    Mover("ssh", "ssh -L between UNIX sockets, as Proxmox VE does", "ssh"),
    Mover("libvirt-native", "libvirtd 9.0, native", "libvirt"),
    Mover("libvirt-tunnelled", "libvirtd 9.0, --tunnelled", "libvirt", ("--tunnelled",)),
    Mover("libvirt-tunnelled-tls", "libvirtd 9.0, --tunnelled over TLS", "libvirt", ("--tunnelled", "tls")),
    Mover("culvert-stream", "culvertd, stream route", "culvert", ("--tunnelled", "?route=stream")),
    Mover("culvert-direct", "culvertd, direct route", "culvert", ("--tunnelled", "?route=direct")),
    Mover("culvert-pump", "culvertd, pump route", "culvert", ("--tunnelled", "?route=pump")),
    Mover(
        "culvert-pump-zstd",
        "culvertd, pump route, zstd",
        "culvert",
        ("--tunnelled", "?route=pump&compression=on"),
        _COMPRESSIBLE,
    ),
    Mover(
        "culvert-pump-2",
        "culvertd, pump route, two channels",
        "culvert",
        (*_TWO, "?route=pump"),
        ("incompressible",),
    ),
    Mover("culvert-tls-1", "culvertd over TLS, one channel", "culvert", ("--tunnelled", "tls", "?route=pump")),
    Mover("culvert-tls-2", "culvertd over TLS, two channels", "culvert", (*_TWO, "tls", "?route=pump")),
)
