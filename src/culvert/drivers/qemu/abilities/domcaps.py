"""The domain capabilities XML (CONNECT_GET_DOMAIN_CAPABILITIES): what a guest's definition may ask for.

The values of devices come from the binding tables of ``culvert.domain``, so that what is promised is what is parsed.
Elements and their order: libvirt docs/formatdomaincaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree

from culvert.domain import binding, chardev, disk, display, features, peripheral, platform, tpm, virtio
from culvert.domain.loader import Loader
from culvert.domain.scalars import WordScalar
from culvert.drivers.qemu.abilities.ability import Ability
from culvert.drivers.qemu.abilities.firmware import INTERFACES, Firmware
from culvert.drivers.qemu.abilities.machines import VERSIONED, Machine, Machines
from culvert.drivers.qemu.command.command_device import PRIMARY_VIDEO, VIRTIO_VIDEO
from culvert.ground import errors

# Architecture of an emulator → those of the guests that it runs.
RUN_BY = {"x86_64": ("x86_64", "i686"), "i686": ("i686",)}
ACCELERATED, EMULATED = "kvm", "qemu"

# Not processors one can ask for by name: what they are depends on the host.
_RELATIVE = frozenset({"base", "host", "max"})


@dataclass(frozen=True, slots=True)
class Question:
    """What the answer is about."""

    machine: Machine
    virttype: str
    arch: str = "x86_64"


# libvirt's kinds of guests (virDomainVirtType), most of other hypervisors.
VIRT_TYPES = (
    *("none", "qemu", "kqemu", "kvm", "xen", "lxc", "uml", "openvz", "test", "vmware", "hyperv", "vbox", "phyp"),
    *("parallels", "bhyve", "vz", "hvf"),
)


def question(
    known: Machines, emulator: str | None, arch: str | None, machine: str | None, virttype: str | None
) -> Question:
    """What a client means that leaves things out.

    Raises ``errors.InvalidArgument`` for what is not there, ``errors.ConfigUnsupported`` for another architecture.
    """
    if emulator is not None and emulator != known.emulator:
        raise errors.InvalidArgument(f"invalid argument: emulator '{emulator}' is not the one that is served")
    if arch is not None and arch not in RUN_BY[known.arch]:
        raise errors.ConfigUnsupported(f"unable to find any emulator to serve '{arch}' architecture")
    name = known.aliases.get(machine, machine) if machine else known.default_machine
    found = next((each for each in known.offered if each.name == name), None)
    if found is None:
        raise errors.InvalidArgument(
            f"invalid argument: the machine '{machine}' is not supported by emulator '{known.emulator}'"
        )
    kind = virttype or (ACCELERATED if known.kvm else EMULATED)
    if kind not in VIRT_TYPES:
        raise errors.InvalidArgument(f"invalid argument: unknown virttype: {kind}")
    if kind not in (EMULATED, *([ACCELERATED] if known.kvm else [])):
        raise errors.InvalidArgument(
            f"invalid argument: the virt type '{kind}' is not supported by emulator '{known.emulator}'"
        )
    return Question(found, kind, arch or known.arch)


def models(known: Machines) -> list[str]:
    """The names of processors a definition may ask for, in QEMU's spelling, without those of single versions."""
    return [name for name in known.cpu_models if not VERSIONED.search(name) and name not in _RELATIVE]


def build(known: Machines, about: Question, installed: Sequence[Firmware] = (), tpms: Sequence[str] = ()) -> str:
    """The XML text; ``installed``: the firmware of this host, ``tpms``: the versions of TPMs that can be emulated."""
    root = etree.Element("domainCapabilities")
    etree.SubElement(root, "path").text = known.emulator
    etree.SubElement(root, "domain").text = about.virttype
    etree.SubElement(root, "machine").text = about.machine.name
    etree.SubElement(root, "arch").text = about.arch
    etree.SubElement(root, "vcpu", max=str(about.machine.max_cpus))
    etree.SubElement(root, "iothreads", supported="no")
    _os(root, [one for one in installed if one.is_for(about.machine.name)])
    _cpu(root, known, about)
    backing = etree.SubElement(root, "memoryBacking", supported="yes")
    _enum(backing, "sourceType", words(platform.MemoryBacking, "source"))
    _devices(root, known, tpms)
    _features(root)
    etree.indent(root)
    return str(etree.tostring(root, encoding="unicode")) + "\n"


def words(cls: type[Any], field: str) -> tuple[str, ...]:
    """The words that a field of a bound class takes."""
    scalar = next(row.binding.scalar for row in binding.table(cls) if row.field == field)
    return scalar.words if isinstance(scalar, WordScalar) else ()


def _os(root: etree._Element, fitting: Sequence[Firmware]) -> None:
    os = etree.SubElement(root, "os", supported="yes")
    kinds = {kind for one in fitting for kind, name in INTERFACES.items() if name in one.interfaces}
    _enum(os, "firmware", sorted(kinds))
    loader = etree.SubElement(os, "loader", supported="yes")
    for path in dict.fromkeys(one.path for one in fitting if one.device != "kernel"):
        etree.SubElement(loader, "value").text = path
    _enum(loader, "type", words(Loader, "type"))
    _enum(loader, "readonly", ("yes", "no"))
    # By what libvirt knows it, too: firmware that keeps others from its flash needs SMM to do so.
    _enum(loader, "secure", ("yes", "no") if any("requires-smm" in one.features for one in fitting) else ("no",))


def _cpu(root: etree._Element, known: Machines, about: Question) -> None:
    cpu = etree.SubElement(root, "cpu")
    kvm = about.virttype == ACCELERATED
    passthrough = etree.SubElement(cpu, "mode", name="host-passthrough", supported=_yes_no(kvm))
    if kvm:
        _enum(passthrough, "hostPassthroughMigratable", ("on", "off"))
    maximum = etree.SubElement(cpu, "mode", name="maximum", supported="yes")
    _enum(maximum, "maximumMigratable", ("on", "off"))
    # With emulation it stands for "maximum"; which model is nearest to a host's processor is not known here.
    etree.SubElement(cpu, "mode", name="host-model", supported="no")
    custom = etree.SubElement(cpu, "mode", name="custom", supported="yes")
    for name in models(known):
        usable = "unknown" if kvm else _yes_no(not known.blockers.get(name))
        deprecated = {"deprecated": "yes"} if name in known.deprecated_models else {}
        etree.SubElement(custom, "model", {"usable": usable, **deprecated, "vendor": "unknown"}).text = name


SERVERS: tuple[str, ...] = ("vnc", "spice")
FOLDERS: tuple[str, ...] = ("path",)  # who serves them

# Enumeration and its value → types of devices, one of which the emulator must have; others are part of every machine,
# or of none.
_NEEDS: dict[tuple[str, str], frozenset[str]] = {
    **{("modelType", kind): frozenset({driver}) for kind, driver in PRIMARY_VIDEO.items()},
    ("modelType", "virtio"): frozenset(VIRTIO_VIDEO.values()),
    ("bus", "virtio"): frozenset({"virtio-blk-pci"}),
    **{("model", name): frozenset({name.replace("virtio", "virtio-rng-pci", 1)}) for name in virtio.MODELS.words},
    **{("model", kind): frozenset({kind}) for kind in words(tpm.Tpm, "model")},
}


def _there(known: Machines, enum: str, values: Iterable[str]) -> list[str]:
    """Those of ``values`` that the emulator can be; all of them where its devices are not known."""
    devices = known.abilities.devices
    no_spice = {"spice", *chardev.SPICE} if devices and Ability.SPICE not in known.abilities else set()
    there = (one for one in values if one not in no_spice)
    return [one for one in there if not devices or (enum, one) not in _NEEDS or _NEEDS[enum, one] & devices]


def _devices(root: etree._Element, known: Machines, tpms: Sequence[str]) -> None:
    devices = etree.SubElement(root, "devices")
    kinds: dict[str, dict[str, Sequence[str]] | None] = {
        "disk": {"diskDevice": words(disk.Disk, "device"), "bus": words(disk.DiskTarget, "bus")},
        # Those that others can connect to: whether QEMU has a window to open, it does not tell.
        "graphics": {"type": SERVERS},
        "video": {"modelType": words(display.VideoModel, "type")},
        "hostdev": None,
        "rng": {
            "model": words(peripheral.Rng, "model"),
            "backendModel": words(peripheral.RngBackend, "model"),
        },
        "filesystem": {"driverType": FOLDERS},
        "tpm": {
            "model": words(tpm.Tpm, "model"),
            "backendModel": words(tpm.TpmBackend, "type"),
            "backendVersion": tpms,
        }
        if tpms
        else None,
        "redirdev": {"bus": words(chardev.Redirdev, "bus")},
        "channel": {"type": words(chardev.ChannelDevice, "type")},
    }
    for name, enums in kinds.items():
        element = etree.SubElement(devices, name, supported=_yes_no(enums is not None))
        for enum, values in (enums or {}).items():
            _enum(element, enum, _there(known, enum, values))


def _features(root: etree._Element) -> None:
    parent = etree.SubElement(root, "features")
    for name, supported in {"gic": False, "vmcoreinfo": True, "genid": True, "backingStoreInput": False}.items():
        etree.SubElement(parent, name, supported=_yes_no(supported))
    etree.SubElement(parent, "backup", supported="no")
    etree.SubElement(parent, "sev", supported="no")
    hyperv = etree.SubElement(parent, "hyperv", supported="yes")
    known = [row.field for row in binding.table(features.HyperV) if row.field != "mode"]
    _enum(hyperv, "features", known)


def _enum(parent: etree._Element, name: str, values: Iterable[str]) -> None:
    enum = etree.SubElement(parent, "enum", name=name)
    for value in values:
        etree.SubElement(enum, "value").text = value


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
