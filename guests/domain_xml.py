"""Domain XML for guests: small, and only what libvirt's own schema knows."""

from __future__ import annotations

import uuid as uuid_module
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from guests import linux, tiny

MACHINES = ("pc", "q35")

# QEMU before 9.0 loses writes of a TCG guest during live migration when the length of its RAM is a multiple of 64
# pages (fixed by "physmem: Fix migration dirty bitmap coherency with TCG memory access"); Linux does not survive it.
SPARED_KIB = 8


@dataclass(frozen=True, slots=True)
class Serial:
    """A serial port: ``kind`` is ``file`` (appended to), ``pty`` or ``unix`` (QEMU listens); ``path`` as it needs."""

    kind: str = "pty"
    path: Path | None = None

    def xml(self, port: int) -> str:
        """The ``<serial>`` element for ISA serial port ``port``."""
        sources = {
            "pty": "",
            "file": f"<source path={quoteattr(str(self.path))} append='on'/>",
            "unix": f"<source mode='bind' path={quoteattr(str(self.path))}/>",
        }
        return f"<serial type='{self.kind}'>{sources[self.kind]}<target port='{port}'/></serial>"


@dataclass(frozen=True, slots=True)
class DomainXML:
    """A domain with a direct kernel boot or one disk, serial ports, and what the last four add as XML text.

    An empty ``usb`` leaves the controller to whoever defines it.
    """

    name: str
    memory_kib: int
    kernel: Path | None = None
    initrd: Path | None = None
    cmdline: str = ""
    disk: Path | None = None
    disk_readonly: bool = True
    serials: tuple[Serial, ...] = (Serial(),)
    machine: str = "pc"
    domain_type: str = "qemu"
    vcpus: int = 1
    uuid: uuid_module.UUID = field(default_factory=uuid_module.uuid4)
    balloon: str = "none"
    usb: str = "none"
    os: str = ""
    features: str = ""
    cpu: str = ""
    devices: str = ""

    def text(self) -> str:
        """The domain XML."""
        boot = [
            f"<{tag}>{escape(str(value))}</{tag}>"
            for tag, value in (("kernel", self.kernel), ("initrd", self.initrd), ("cmdline", self.cmdline))
            if value
        ]
        devices = [*(serial.xml(port) for port, serial in enumerate(self.serials)), *self._disk(), self.devices]
        return f"""<domain type='{self.domain_type}'>
  <name>{escape(self.name)}</name>
  <uuid>{self.uuid}</uuid>
  <memory unit='KiB'>{self.memory_kib}</memory>
  <vcpu>{self.vcpus}</vcpu>
  <os><type arch='x86_64' machine='{self.machine}'>hvm</type>{"".join(boot)}{self.os}</os>
  <features><acpi/><apic/>{self.features}</features>{self.cpu}
  <devices>{f"<controller type='usb' model='{self.usb}'/>" if self.usb else ""}
    {"".join(devices)}
    <memballoon model='{self.balloon}'/>
  </devices>
</domain>
"""

    def _disk(self) -> list[str]:
        if self.disk is None:
            return []
        readonly = "<readonly/>" if self.disk_readonly else ""
        return [
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
            f"<source file={quoteattr(str(self.disk))}/><target dev='vda' bus='virtio'/>{readonly}</disk>"
        ]


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest ready to be created: its domain and the file its output goes to."""

    domain: DomainXML
    serial: Path

    @property
    def name(self) -> str:
        """The domain's name."""
        return self.domain.name

    @property
    def xml(self) -> str:
        """The domain XML."""
        return self.domain.text()

    def write_xml(self) -> Path:
        """Write the XML beside the serial file, for ``virsh create``; returns the path."""
        path = self.serial.with_suffix(".xml")
        path.write_text(self.xml, encoding="utf-8")
        return path


def tiny_guest(
    folder: Path,
    name: str,
    parameters: tiny.TinyParameters | None = None,
    *,
    machine: str = "pc",
    boot: str = "kernel",
    command_port: bool = True,
    domain_type: str = "qemu",
    devices: str = "",
) -> Guest:
    """A tiny guest with its files in ``folder``: ``NAME.serial`` (COM1), ``NAME.img``.

    ``boot`` is ``kernel`` (no disk at all) or ``disk`` (the same image as a read-only virtio disk). With
    ``command_port`` a pty as COM2 takes commands (``Console``).
    """
    parameters = parameters or tiny.TinyParameters()
    image = tiny.write_image(folder / f"{name}.img", parameters)
    serial = folder / f"{name}.serial"
    domain = DomainXML(
        name=name,
        memory_kib=parameters.memory_mib * 1024 + SPARED_KIB,
        kernel=image if boot == "kernel" else None,
        disk=image if boot == "disk" else None,
        serials=(Serial("file", serial), *((Serial("pty"),) if command_port else ())),
        machine=machine,
        domain_type=domain_type,
        devices=devices,
    )
    return Guest(domain, serial)


def linux_guest(
    folder: Path,
    name: str,
    parameters: linux.LinuxParameters | None = None,
    *,
    machine: str = "q35",
    domain_type: str = "qemu",
    vcpus: int = 1,
    devices: str = "",
) -> Guest:
    """A Linux guest with its serial file in ``folder``; kernel and initramfs come from the cache."""
    parameters = parameters or linux.LinuxParameters()
    serial = folder / f"{name}.serial"
    domain = DomainXML(
        name=name,
        memory_kib=parameters.memory_mib * 1024 + SPARED_KIB,
        kernel=linux.kernel(),
        initrd=linux.initramfs(),
        cmdline=parameters.cmdline(),
        serials=(Serial("file", serial), Serial("pty")),
        machine=machine,
        domain_type=domain_type,
        vcpus=vcpus,
        devices=devices,
    )
    return Guest(domain, serial)
