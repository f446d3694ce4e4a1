"""What libvirt refuses to define for a reason, though every part of it is understood: tables of rules by kind.

``check`` is for definitions that somebody gives; a guest that arrives or is restored runs already, and is not asked
(libvirt: VIR_DOMAIN_DEF_PARSE_SKIP_VALIDATE). What contradicts itself so that it cannot be placed is refused by
``defaults.complete``, always.

Source: conf/domain_validate.c and qemu/qemu_validate.c of libvirt 9.0, tried out with its daemon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

from culvert.domain import aliases, tpm, validate_disk, validate_firmware
from culvert.domain.address import PciAddress
from culvert.domain.bus_device import Iommu
from culvert.domain.chardev import SPICE, ChannelDevice, Chardev
from culvert.domain.controller import MODEL_NAMES, VIRTIO_SCSI, Controller, ControllerTarget
from culvert.domain.definition import DomainDef
from culvert.domain.disk import Disk
from culvert.domain.display import PASSWORD_MAX, Graphics
from culvert.domain.features import HyperV
from culvert.domain.interface import WITHOUT_DEVICE, Interface
from culvert.domain.platform import Timer
from culvert.domain.rule import Wrong, check_all
from culvert.ground import errors

# The APIC of a pc without a virtual IOMMU numbers so many processors.
MOST_VCPUS = 255

# Timers → attributes that say something of them, beside name and present.
TIMER_ATTRIBUTES = {
    "rtc": frozenset({"tickpolicy", "track"}),
    "pit": frozenset({"tickpolicy"}),
    "hpet": frozenset({"tickpolicy"}),
    "tsc": frozenset({"tickpolicy", "frequency"}),
    "kvmclock": frozenset[str](),
    "hypervclock": frozenset[str](),
}

# PCI controller → what of its own can be said of it.
PCI_TARGETS = {
    "pci-root": frozenset({"hotplug"}),
    "pci-bridge": frozenset({"chassis_number"}),
    "pcie-root-port": frozenset({"chassis", "port", "hotplug"}),
    "pcie-switch-downstream-port": frozenset({"chassis", "port", "hotplug"}),
    "pci-expander-bus": frozenset({"bus_number", "node"}),
    "pcie-expander-bus": frozenset({"bus_number", "node"}),
}
ROOTS = frozenset({"pci-root", "pcie-root"})
MOST_XHCI_PORTS = 15
COMPANION = "ich9-uhci"

PASSED = frozenset({"host-passthrough", "maximum"})
LEAST_QUOTA = 1000  # microseconds
NOT_KEPT = frozenset({"preserve", "rename-restart"})  # for on_poweroff and on_reboot


def _odd(size: int | None) -> bool:
    """It is no power of two."""
    return bool(size) and bool((size or 0) & ((size or 0) - 1))


INTERFACE: tuple[Wrong, ...] = (
    Wrong(
        lambda one: one.mac is not None and int(one.mac[:2], 16) & 1,
        "the MAC address {0.mac} of an interface is a multicast one",
        errors.XMLError,
    ),
    Wrong(
        lambda one: one.mtu is not None and one.type in WITHOUT_DEVICE and not one.is_passt,
        "an interface of type '{0.type}' has no MTU that could be set",
    ),
    Wrong(
        lambda one: one.backend is not None and one.type != "user",
        "The 'passt' backend can only be used with interface type='user'",
    ),
    Wrong(
        lambda one: one.backend is not None and one.backend.log_file is not None and not one.is_passt,
        "/domain/devices/interface/backend/@logFile: only passt writes one",
    ),
    Wrong(
        lambda one: one.isolated is not None and one.type not in ("network", "bridge"),
        "port isolation is not supported for network interface {0.mac}",
    ),
    Wrong(
        lambda one: _odd(one.driver.rx_queue_size if one.driver else None),
        "rx_queue_size has to be a power of two",
    ),
    Wrong(
        lambda one: _odd(one.driver.tx_queue_size if one.driver else None),
        "tx_queue_size has to be a power of two",
    ),
    Wrong(
        lambda one: one.ips and one.type != "user",
        "/domain/devices/interface/ip: an address can be given to a guest on an interface of type 'user' alone",
    ),
    Wrong(
        lambda one: any(sum(ip.family == family for ip in one.ips) > 1 for family in ("ipv4", "ipv6")),
        "only one address of a family is supported for interfaces of type 'user'",
    ),
    Wrong(
        lambda one: one.port_forwards and not one.is_passt,
        "The <portForward> element can only be used with <interface type='user'> and its 'passt' backend",
    ),
    Wrong(
        lambda one: one.rom is not None and one.rom.enabled is False and (one.rom.bar is not None or one.rom.file),
        "the ROM of interface {0.mac} is switched off, and so has neither bar nor file",
    ),
    Wrong(
        lambda one: one.target is not None and one.target.managed is False and one.type != "ethernet",
        "an interface of type '{0.type}' cannot have a target that is not managed",
    ),
)


def _not_virtio_scsi(name: str, one: Controller) -> bool:
    return one.model != VIRTIO_SCSI and one.driver is not None and getattr(one.driver, name) is not None


CONTROLLER: tuple[Wrong, ...] = (
    *(
        Wrong(
            partial(_not_virtio_scsi, name),
            f"'{name}' is only supported {word} virtio-scsi controller",
        )
        for name, word in (
            *(("queues", "by"), ("cmd_per_lun", "by"), ("max_sectors", "by"), ("ioeventfd", "by")),
            ("iothread", "for"),
        )
    ),
    Wrong(
        lambda one: one.driver is not None and one.type != "virtio-serial" and one.model != VIRTIO_SCSI,
        "virtio options are only supported by virtio controllers, and {0.type} controller {0.index} is none",
    ),
    Wrong(
        lambda one: one.type == "usb" and (one.model or "").endswith("xhci") and (one.ports or 0) > MOST_XHCI_PORTS,
        f"usb controller {{0.index}}: {{0.model}} has at most {MOST_XHCI_PORTS} ports",
    ),
    Wrong(
        lambda one: one.type == "pci" and one.model in ROOTS and one.address is not None,
        "PCI controller {0.index}: {0.model} has no address",
    ),
    Wrong(
        lambda one: one.type == "pci" and _told(one.target) - PCI_TARGETS.get(one.model or "", frozenset()),
        "PCI controller {0.index}: <target> says what {0.model} does not have",
    ),
    Wrong(
        lambda one: one.type == "pci" and one.model_name not in (None, *MODEL_NAMES.get(one.model or "", ())),
        "PCI controller {0.index}: {0.model} is not called '{0.model_name}'",
    ),
    Wrong(
        lambda one: one.model == "pci-bridge" and one.address is not None and one.address.bus >= (one.index or 0),
        "PCI controller {0.index} is on bus {0.address.bus}: its index must be larger than that of its bus",
    ),
)

CHARDEV: tuple[Wrong, ...] = (
    Wrong(
        lambda one: _is_file(one) and (one.source is None or one.source.path is None),
        "a character device of type '{0.type}' needs <source path='…'/>",
        errors.InternalError,
    ),
    Wrong(
        lambda one: one.type == "tcp" and (one.source is None or one.source.host is None),
        "a character device of type 'tcp' needs <source host='…'/>",
        errors.InternalError,
    ),
    Wrong(
        lambda one: one.type == "tcp" and one.source is not None and one.source.service is None,
        "a character device of type 'tcp' needs <source service='…'/>",
        errors.InternalError,
    ),
)


def _is_no_time(one: Graphics) -> bool:
    try:
        _ = one.passwd_ends
    except ValueError:
        return True
    return False


GRAPHICS: tuple[Wrong, ...] = (
    Wrong(
        _is_no_time,
        "cannot parse password validity time '{0.passwd_valid_to}', expect YYYY-MM-DDTHH:MM:SS",
        errors.InternalError,
    ),
    Wrong(
        lambda one: one.type == "vnc" and one.connected not in (None, "keep"), "VNC supports connected='keep' only"
    ),
    Wrong(
        lambda one: one.type == "vnc" and len((one.passwd or "").encode()) > PASSWORD_MAX,
        f"the VNC password is longer than {PASSWORD_MAX} characters, and the rest would not count",
    ),
)

AUDIO: tuple[Wrong, ...] = (
    Wrong(
        lambda one: any(side and side.settings and not side.fixed_settings for side in (one.input, one.output)),
        "audio settings specified without fixed settings flag",
    ),
    Wrong(
        lambda one: one.foreign,
        "/domain/devices/audio: a backend of type '{0.type}' does not have {0.foreign}",
    ),
)

VIDEO: tuple[Wrong, ...] = (
    Wrong(
        lambda one: (one.model.heads or 1) > 1 and one.model.type not in ("virtio", "qxl"),
        "a video card of type '{0.model.type}' has one head",
    ),
    Wrong(
        lambda one: one.model.type == "vga" and 0 < (one.model.vram or 0) < 1024,
        "a video card of type 'vga' has at least 1 MiB (1024 KiB) of vram",
    ),
)

WATCHDOG: tuple[Wrong, ...] = (
    Wrong(
        lambda one: one.model == "ib700" and one.address is not None,
        "a watchdog of model 'ib700' is on no bus and has no address",
    ),
    Wrong(
        lambda one: one.model == "itco" and one.address is not None,
        "itco model of watchdog is part of the machine and cannot have any address set.",
    ),
)

TIMER: tuple[Wrong, ...] = (
    Wrong(
        lambda one: _spoken(one, ("tickpolicy", "track", "frequency")) - TIMER_ATTRIBUTES[one.name],
        "timer '{0.name}' has no tickpolicy, track or frequency but what it knows",
    ),
    Wrong(
        lambda one: one.name == "rtc" and one.tickpolicy == "discard",
        "timer 'rtc' has no tickpolicy 'discard'",
    ),
)

DOMAIN: tuple[Wrong, ...] = (
    Wrong(lambda one: "\n" in (one.title or ""), "the title of a domain is one line", errors.XMLError),
    Wrong(
        lambda one: one.vcpus > MOST_VCPUS and not (one.devices.iommu and _eim(one.devices.iommu)),
        f"more than {MOST_VCPUS} vCPUs require extended interrupt mode enabled on the iommu device",
    ),
    Wrong(
        lambda one: one.devices.iommu is not None and one.devices.iommu.model == "intel" and not one.is_q35,
        "IOMMU device: 'intel' is not supported with this machine type",
    ),
    Wrong(
        lambda one: (
            one.devices.iommu is not None
            and (one.devices.iommu.address is not None) != (one.devices.iommu.model == "virtio")
        ),
        "iommu model '{0.devices.iommu.model}' can't have address",
    ),
    Wrong(
        lambda one: (
            one.devices.iommu is not None and one.devices.iommu.model == "virtio" and one.devices.iommu.driver
        ),
        "iommu model 'virtio' doesn't support additional options",
        errors.XMLError,
    ),
    Wrong(
        lambda one: (
            one.devices.iommu is not None
            and one.devices.iommu.driver is not None
            and one.devices.iommu.driver.intremap
            and (one.features is None or one.features.ioapic != "qemu")
        ),
        "IOMMU interrupt remapping requires split I/O APIC (ioapic driver='qemu')",
    ),
    Wrong(
        lambda one: (
            one.devices.iommu is not None and _eim(one.devices.iommu) and not one.devices.iommu.driver.intremap
        ),
        "IOMMU eim requires interrupt remapping to be enabled",
    ),
    Wrong(
        lambda one: any(
            each.type == "evdev" and not (each.source and each.source.dev) for each in one.devices.inputs
        ),
        "missing evdev path for input device passthrough",
        errors.XMLError,
    ),
    Wrong(
        lambda one: any(
            each.type == "passthrough" and not (each.source and each.source.evdev) for each in one.devices.inputs
        ),
        "missing evdev path for input device passthrough",
        errors.XMLError,
    ),
    Wrong(
        lambda one: one.on_poweroff in NOT_KEPT or one.on_reboot in NOT_KEPT,
        "on_poweroff and on_reboot are 'destroy' or 'restart' with QEMU",
    ),
    Wrong(
        lambda one: _twice(pin.vcpu for pin in one.cputune.vcpu_pins) if one.cputune else False,
        "/domain/cputune/vcpupin: a processor is pinned twice",
        errors.InternalError,
    ),
    Wrong(
        lambda one: any(0 <= quota < LEAST_QUOTA for quota in _quotas(one)),
        f"/domain/cputune: a quota is {LEAST_QUOTA} microseconds at least, or negative",
    ),
    Wrong(lambda one: one.on_crash == "rename-restart", "on_crash is not 'rename-restart' with QEMU"),
    Wrong(
        lambda one: one.on_poweroff == "restart" and one.on_reboot == "destroy",
        "on_poweroff 'restart' does not go with on_reboot 'destroy'",
    ),
    Wrong(
        lambda one: _spinlocks_without_retries(one.features.hyperv if one.features else None),
        "/domain/features/hyperv/spinlocks/@retries is missing",
        errors.XMLError,
    ),
    Wrong(
        lambda one: _vendor_without_value(one.features.hyperv if one.features else None),
        "/domain/features/hyperv/vendor_id/@value is missing",
        errors.XMLError,
    ),
    Wrong(lambda one: len(one.devices.tpms) > 1, "a domain has one TPM, at most"),
    Wrong(
        lambda one: sum(dog.model != "itco" for dog in one.devices.watchdogs) > 1,
        "a domain has one watchdog, at most",
        errors.InternalError,
    ),
    # The rest on watchdogs in the words of libvirt 11.3: 9.0 does not know itco, which goes with another one.
    Wrong(
        lambda one: sum(dog.model == "itco" for dog in one.devices.watchdogs) > 1,
        "domain can only have one watchdog with model 'itco'",
    ),
    Wrong(
        lambda one: not one.is_q35 and any(dog.model == "itco" for dog in one.devices.watchdogs),
        "itco model of watchdog is only part of q35 machine",
    ),
    Wrong(
        lambda one: len({dog.action for dog in one.devices.watchdogs}) > 1,
        "watchdogs with different actions are not supported with this QEMU binary",
    ),
    Wrong(
        lambda one: (
            not any(graphics.is_spice for graphics in one.devices.graphics)
            and any(channel.type in SPICE for channel in one.devices.channels)
        ),
        "chardev 'spicevmc' not supported without spice graphics",
    ),
    Wrong(
        lambda one: _twice(panic.model for panic in one.devices.panics),
        "Multiple panic devices with one model",
    ),
    Wrong(
        lambda one: any(
            panic.address is not None and (panic.model == "hyperv" or isinstance(panic.address, PciAddress))
            for panic in one.devices.panics
        ),
        "setting the panic device address is not supported for its model",
    ),
    Wrong(
        lambda one: any(
            each.model not in (None, "virtio") and each.type != "passthrough" for each in one.devices.inputs
        ),
        "virtio (non-)transitional models are not supported for this type of input",
    ),
    Wrong(
        lambda one: one.os.bios is not None and one.os.bios.useserial and not one.devices.serials,
        "need at least one serial port to use BIOS serial output",
        errors.XMLError,
    ),
    Wrong(
        lambda one: (
            any(each.type in SPICE for each in (*one.devices.redirdevs, *one.devices.smartcards))
            and not any(graphics.is_spice for graphics in one.devices.graphics)
        ),
        "/domain/devices/redirdev, /domain/devices/smartcard of type spicevmc need spice graphics",
    ),
    Wrong(
        lambda one: any(
            screen.type == "dbus" and screen.audio and audio.id == screen.audio.id and audio.type != "dbus"
            for screen in one.devices.graphics
            for audio in one.devices.audios
        ),
        "The associated audio is not of 'dbus' kind.",
    ),
    Wrong(
        lambda one: _twice(audio.id for audio in one.devices.audios),
        "an audio id is used for more than one backend",
        errors.XMLError,
    ),
    Wrong(
        lambda one: _twice(name for name in _aliases(one) if name.startswith(aliases.USER_PREFIX)),
        "an alias is that of more than one device",
    ),
)

TPM: tuple[Wrong, ...] = (
    Wrong(
        lambda one: one.backend.version == "1.2" and one.model == tpm.CRB,
        "/domain/devices/tpm: a TPM 1.2 has no interface '{0.model}'",
    ),
    Wrong(
        lambda one: one.backend.version != "2.0" and one.backend.active_pcr_banks is not None,
        "/domain/devices/tpm/backend/active_pcr_banks is for version '2.0'",
        errors.XMLError,
    ),
)

OS: tuple[Wrong, ...] = tuple(Wrong(*row) for row in validate_firmware.ROWS)

CPU: tuple[Wrong, ...] = (
    Wrong(
        lambda cpu: _twice(feature.name for feature in cpu.features),
        "a feature of the CPU is there more than once",
        errors.XMLError,
    ),
    Wrong(
        lambda cpu: cpu.migratable is not None and cpu.mode not in ("host-passthrough", "maximum"),
        "/domain/cpu/@migratable does not go with CPU mode '{0.mode}'",
    ),
    Wrong(
        lambda cpu: cpu.cache is not None and cpu.cache.mode == "passthrough" and cpu.mode not in PASSED,
        "CPU cache mode 'passthrough' can only be used with 'host-passthrough' / 'maximum' CPUs",
    ),
    Wrong(
        lambda cpu: cpu.cache is not None and cpu.cache.mode == "passthrough" and cpu.cache.level is not None,
        "unsupported CPU cache level for mode 'passthrough'",
    ),
    Wrong(
        lambda cpu: cpu.cache is not None and cpu.cache.mode == "emulate" and cpu.cache.level != 3,
        "CPU cache mode 'emulate' can only be used with level='3'",
    ),
    Wrong(
        lambda cpu: cpu.maxphysaddr is not None and cpu.maxphysaddr.mode == "passthrough" and cpu.mode not in PASSED,
        "CPU maximum physical address bits mode 'passthrough' can only be used with 'host-passthrough' / 'maximum'"
        " CPUs",
    ),
    Wrong(
        lambda cpu: (
            cpu.maxphysaddr is not None and cpu.maxphysaddr.mode == "emulate" and cpu.maxphysaddr.bits is None
        ),
        "if using CPU maximum physical address mode='emulate', bits= must be specified too",
    ),
)


def check(definition: DomainDef) -> None:
    """Raise for the first rule that the complete ``definition`` breaks, with libvirt's code and naming the thing."""
    devices = definition.devices
    check_all(DOMAIN, (definition,))
    check_all(OS, (definition,))
    check_all(CPU, (definition.cpu,) if definition.cpu else ())
    check_all(TIMER, definition.clock.timers if definition.clock else ())
    check_all(validate_disk.RULES, devices.disks)
    validate_disk.check_whole(definition)
    check_all(CONTROLLER, devices.controllers)
    check_all(INTERFACE, devices.interfaces)
    check_all(
        CHARDEV, (*devices.serials, *devices.parallels, *devices.consoles, *devices.channels, *devices.redirdevs)
    )
    check_all(GRAPHICS, devices.graphics)
    check_all(AUDIO, devices.audios)
    check_all(VIDEO, devices.videos)
    check_all(WATCHDOG, devices.watchdogs)
    check_all(TPM, devices.tpms)
    _check_usb([one for one in devices.controllers if one.type == "usb"])


def check_device(device: Disk | Interface | Graphics) -> None:
    """The same for a device that is to be plugged in or changed."""
    rules = (
        GRAPHICS if isinstance(device, Graphics) else validate_disk.RULES if isinstance(device, Disk) else INTERFACE
    )
    check_all(rules, (device,))


def check_replaced(before: DomainDef, after: DomainDef) -> None:
    """``check`` for ``after``, which somebody gives in the place of ``before``; not where that would be refused too:
    what has run so goes on so."""
    try:
        check(before)
    except errors.RequestError:
        return
    check(after)


def check_grown(before: DomainDef, after: DomainDef) -> None:
    """The same for the domain as a whole that a device makes ``after`` of ``before``, while it runs: what was wrong
    before runs all the same, and is not held against the device."""
    check_all([rule for rule in DOMAIN if not rule.wrong(before)], (after,))


def _check_usb(controllers: list[Controller]) -> None:
    if len(controllers) > 1 and any(one.model == "none" for one in controllers):
        raise errors.XMLDetail("USB is switched off for this domain, and another USB controller is there")
    companions = {one.index for one in controllers if one.master is not None or _is_companion(one)}
    masters = {one.index for one in controllers if one.master is None and not _is_companion(one)}
    for index in sorted(one or 0 for one in companions - masters):
        raise errors.XMLDetail(f"usb controller {index} is a companion only: the master of its set is not there")


def _is_companion(one: Controller) -> bool:
    return (one.model or "").startswith(COMPANION)


def _is_file(one: Chardev) -> bool:
    # A channel without a path is given one at each start.
    return one.type in ("file", "dev", "pipe") or (one.type == "unix" and not isinstance(one, ChannelDevice))


def _told(target: ControllerTarget | None) -> frozenset[str]:
    names = ("chassis_number", "chassis", "port", "bus_number", "hotplug", "node")
    return frozenset() if target is None else _spoken(target, names)


def _spoken(one: ControllerTarget | Timer, names: Iterable[str]) -> frozenset[str]:
    return frozenset(name for name in names if getattr(one, name) is not None)


def _spinlocks_without_retries(hyperv: HyperV | None) -> bool:
    spinlocks = hyperv.spinlocks if hyperv else None
    return spinlocks is not None and spinlocks.state and spinlocks.retries is None


def _vendor_without_value(hyperv: HyperV | None) -> bool:
    vendor = hyperv.vendor_id if hyperv else None
    return vendor is not None and vendor.state and vendor.value is None


def _eim(one: Iommu) -> bool:
    return one.driver is not None and bool(one.driver.eim)


def _quotas(one: DomainDef) -> Iterator[int]:
    tune = one.cputune
    for quota in (tune.quota, tune.global_quota, tune.emulator_quota) if tune else ():
        if quota is not None:
            yield quota


def _twice(names: Iterable[object]) -> bool:
    return any(count > 1 for count in Counter(names).values())


def _aliases(definition: DomainDef) -> Iterator[str]:
    for kind in aliases.ALIASED:
        # The first console is the first serial port, by whatever name.
        held = definition.devices.consoles[1:] if kind == "consoles" else getattr(definition.devices, kind)
        yield from (one.alias for one in held if one.alias is not None)
