"""``-device`` of controllers, hubs, inputs, videos, sounds, watchdogs, balloon and rngs.

Source: qemu/qemu_command.c of libvirt 9.0; property names are QEMU's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from culvert.domain.address import IsaAddress
from culvert.domain.bus_device import IommuDriver, ShmemMsi
from culvert.domain.chardev import FilteredUsb
from culvert.domain.controller import (
    MODEL_NAMES,
    SCSI_DEFAULT,
    VIRTIO_SCSI,
    Controller,
    ControllerDriver,
    ControllerTarget,
)
from culvert.domain.definition import DomainDef
from culvert.domain.display import HdaCodec, Input, InputSource, Video, VideoModel, virtio_device
from culvert.drivers.qemu.command import command_chardev
from culvert.drivers.qemu.command.command_syntax import (
    comma,
    device,
    on_off,
    option,
    pci,
    usb_place,
    virtio,
    virtio_options,
)
from culvert.ground import errors
from culvert.ground.units import KiB

# The order in which controllers stand on libvirt's command line: a bus before what is plugged into it.
CONTROLLER_ORDER = ("pci", "usb", "scsi", "ide", "sata", "virtio-serial")
AFTER_HUBS = ("ccid",)

# Controller types and PCI models that the machine has without being told.
BUILT_IN = frozenset({"pci-root", "pcie-root"})

USB_DRIVERS = {
    "piix3-uhci": "piix3-usb-uhci",
    "ich9-ehci1": "ich9-usb-ehci1",
    "ich9-uhci1": "ich9-usb-uhci1",
    "ich9-uhci2": "ich9-usb-uhci2",
    "ich9-uhci3": "ich9-usb-uhci3",
    "qemu-xhci": "qemu-xhci",
    "nec-xhci": "nec-usb-xhci",
    "piix4-uhci": "piix4-usb-uhci",
    "ehci": "usb-ehci",
    "vt82c686b-uhci": "vt82c686b-usb-uhci",
    "pci-ohci": "pci-ohci",
}

PRIMARY_VIDEO = {"vga": "VGA", "cirrus": "cirrus-vga", "bochs": "bochs-display", "qxl": "qxl-vga", "ramfb": "ramfb"}
SECOND_VIDEO = {"qxl": "qxl"}
VIRTIO_VIDEO = {"virtio-vga": "virtio-vga", "virtio-gpu": "virtio-gpu-pci"}

VIRTIO_GL = {"virtio-vga": "virtio-vga-gl", "virtio-gpu": "virtio-gpu-gl-pci"}

USB_INPUTS = {"mouse": "usb-mouse", "tablet": "usb-tablet", "keyboard": "usb-kbd"}


def controllers(definition: DomainDef, kinds: Sequence[str] = CONTROLLER_ORDER) -> list[str]:
    """All controllers of these kinds that are not part of the machine."""
    argv: list[str] = []
    for kind in kinds:
        for controller in definition.devices.controllers:
            if controller.type == kind:
                properties = _controller(definition, controller)
                argv += device(properties) if properties else []
    return argv


def one_controller(definition: DomainDef, controller: Controller) -> list[str]:
    """A controller that is plugged into a running guest."""
    properties = _controller(definition, controller)
    return device(properties) if properties else []


def _controller(definition: DomainDef, controller: Controller) -> dict[str, Any] | None:
    who = f"{controller.type} controller {controller.index}"
    if controller.type == "usb":
        return _usb(definition, controller, who)
    told: dict[str, Any] | None = None
    place = pci
    match controller.type:
        case "pci" | "scsi" if controller.model not in BUILT_IN:
            told = (_scsi if controller.type == "scsi" else _bridge)(controller)
        case "sata" if not (definition.is_q35 and controller.index == 0):
            told = {"driver": "ahci", "id": controller.alias}
        case "virtio-serial":
            told = {
                **virtio("virtio-serial", controller.model, controller.driver),
                "id": controller.alias,
                "max_ports": controller.ports,
                "vectors": controller.vectors,
            }
        case "ccid":
            told, place = {"driver": "usb-ccid", "id": controller.alias}, usb_place
    # Others are the machine's: ide of the PIIX3, sata of the ICH9; floppies have theirs beside them.
    return None if told is None else {**told, **place(definition, controller.address, who)}


SCSI_DRIVERS = {
    "lsilogic": "lsi",
    "lsisas1068": "mptsas1068",
    "lsisas1078": "megasas",
    "vmpvscsi": "pvscsi",
    "dc390": "dc-390",
    "am53c974": "am53c974",
}


def _scsi(controller: Controller) -> dict[str, Any]:
    if controller.model != VIRTIO_SCSI:
        return {"driver": SCSI_DRIVERS[controller.model or SCSI_DEFAULT], "id": controller.alias}
    driver = controller.driver or ControllerDriver()
    return {
        "driver": "virtio-scsi-pci",
        "iommu_platform": driver.iommu,
        "ats": driver.ats,
        "packed": driver.packed,
        "page-per-vq": driver.page_per_vq,
        "iothread": f"iothread{driver.iothread}" if driver.iothread else None,
        "id": controller.alias,
        "num_queues": driver.queues,
        "cmd_per_lun": driver.cmd_per_lun,
        "max_sectors": driver.max_sectors,
        "ioeventfd": driver.ioeventfd,
    }


def _bridge(controller: Controller) -> dict[str, Any]:
    target = controller.target or ControllerTarget()
    name = controller.model_name or MODEL_NAMES[controller.model or "pci-bridge"][0]
    match controller.model:
        case "pcie-root-port" | "pcie-switch-downstream-port":
            return {
                "driver": name,
                "port": target.port,
                "chassis": target.chassis,
                "id": controller.alias,
                "hotplug": target.hotplug,
            }
        case "pci-expander-bus" | "pcie-expander-bus":
            number = target.bus_number
            return {"driver": name, "bus_nr": number, "id": controller.alias, "numa_node": target.node}
        case "pci-bridge":
            return {"driver": name, "chassis_nr": target.chassis_number, "id": controller.alias}
        case _:
            return {"driver": name, "id": controller.alias}


def globals_of_roots(definition: DomainDef) -> list[str]:
    """What is said of the machine's own PCI roots."""
    argv: list[str] = []
    host = "q35-pcihost" if definition.is_q35 else "i440FX-pcihost"
    for one in definition.devices.controllers:
        if one.model == "pci-root" and one.target is not None and one.target.hotplug is not None:
            argv += ["-global", f"PIIX4_PM.acpi-root-pci-hotplug={on_off(one.target.hotplug)}"]
        if one.model in BUILT_IN and one.pcihole64:
            argv += ["-global", f"{host}.pci-hole64-size={one.pcihole64}K"]
    return argv


def _usb(definition: DomainDef, controller: Controller, who: str) -> dict[str, Any] | None:
    if controller.model == "none":
        return None
    properties: dict[str, Any] = {
        "driver": USB_DRIVERS[controller.model or "piix3-uhci"],
        "p2": controller.ports,
        "p3": controller.ports,
    }
    if controller.master is None:
        properties["id"] = controller.alias
    else:
        properties["masterbus"] = f"{controller.alias}.0"
        properties["firstport"] = controller.master
    return {**properties, **pci(definition, controller.address, who)}


def hubs(definition: DomainDef) -> list[str]:
    """USB hubs, which stand before everything plugged into them."""
    argv: list[str] = []
    for hub in definition.devices.hubs:
        place = usb_place(definition, hub.address, "usb hub")
        argv += device({"driver": "usb-hub", "id": hub.alias, **place})
    return argv


def inputs(definition: DomainDef) -> list[str]:
    """Inputs on usb and virtio, and those that QEMU reads from the host; those on ps2 are part of the machine."""
    argv: list[str] = []
    for one in definition.devices.inputs:
        if one.type == "evdev":
            argv += option("-object", _evdev(one))
        elif one.bus != "ps2":
            argv += device(_input(definition, one))
    return argv


def _evdev(one: Input) -> dict[str, Any]:
    source = one.source or InputSource()
    return {
        "qom-type": "input-linux",
        "id": one.alias,
        "evdev": source.dev,
        "repeat": source.repeat,
        "grab_all": True if source.grab == "all" else None,
        "grab-toggle": source.grab_toggle,
    }


def _input(definition: DomainDef, one: Input) -> dict[str, Any]:
    who = f"input '{one.alias}'"
    if one.bus == "virtio":
        name = "input-host" if one.type == "passthrough" else one.type
        evdev = one.source.evdev if one.source else None
        told = {**virtio(f"virtio-{name}", one.model, one.driver), "id": one.alias, "evdev": evdev}
        return {**told, **pci(definition, one.address, who)}
    return {"driver": USB_INPUTS[one.type], "id": one.alias, **usb_place(definition, one.address, who)}


def videos(definition: DomainDef) -> list[str]:
    """Video cards; the first is the primary one."""
    argv: list[str] = []
    for number, video in enumerate(definition.devices.videos):
        if video.model.type != "none":
            on_bus = video.model.type != "ramfb"
            place = pci(definition, video.address, f"video '{video.alias}'") if on_bus else {}
            argv += device({**_video(video, primary=number == 0), **place})
    return argv


def _video(video: Video, *, primary: bool) -> dict[str, Any]:
    kind, vram = video.model.type, video.model.vram
    shown = {"vga": vram, "qxl": video.model.vgamem}.get(kind)
    if not primary and kind not in ("virtio", *SECOND_VIDEO):
        raise errors.ConfigUnsupported(
            f"unsupported configuration: video type '{kind}' is only valid as primary video device"
        )
    points = video.model.resolution
    return {
        "driver": _card(video, primary=primary),
        **virtio_options(video.driver if kind == "virtio" else None),
        "id": video.alias,
        "max_outputs": (video.model.heads or 1) if kind in ("virtio", *SECOND_VIDEO) else None,
        **(_qxl(video.model) if kind == "qxl" else {}),
        "vgamem_mb": shown // 1024 if shown else None,
        "vgamem": vram * 1024 if kind == "bochs" and vram else None,
        "blob": video.model.blob,
        "xres": points.x if points else None,
        "yres": points.y if points else None,
    }


def _card(video: Video, *, primary: bool) -> str:
    kind = virtio_device(video.model, primary=primary)
    if kind is None:
        return (PRIMARY_VIDEO if primary else SECOND_VIDEO)[video.model.type]
    drawn = video.model.acceleration is not None and video.model.acceleration.accel3d
    return (VIRTIO_GL if drawn else VIRTIO_VIDEO)[kind]


def _qxl(model: VideoModel) -> dict[str, Any]:
    return {
        "ram_size": (model.ram or 0) * KiB,
        "vram_size": (model.vram or 0) * KiB,
        "vram64_size_mb": (model.vram64 or 0) // 1024,
    }


# model of a sound card → QEMU's device; those of two are a controller and its codecs.
SOUNDS = {"ac97": "AC97", "es1370": "ES1370", "sb16": "sb16", "usb": "usb-audio"}
HDA = {"ich6": "intel-hda", "ich9": "ich9-intel-hda"}


def sounds(definition: DomainDef) -> list[str]:
    """Sound cards, each on an audio backend."""
    argv: list[str] = []
    for sound in definition.devices.sounds:
        who = f"sound '{sound.alias}'"
        backend = f"audio{sound.audio.id if sound.audio else definition.devices.audios[0].id}"
        if sound.model == "pcspk":
            argv += ["-machine", f"pcspk-audiodev={backend}"]
            continue
        if sound.model in HDA:
            argv += device({"driver": HDA[sound.model], "id": sound.alias, **pci(definition, sound.address, who)})
            for number, codec in enumerate(sound.codecs or (HdaCodec(type="duplex"),)):
                argv += device(
                    {
                        "driver": f"hda-{codec.type}",
                        "id": f"{sound.alias}-codec{number}",
                        "bus": f"{sound.alias}.0",
                        "cad": number,
                        "audiodev": backend,
                    }
                )
            continue
        place: dict[str, Any] = {}
        if sound.is_usb:
            place = usb_place(definition, sound.address, who)
        elif sound.address is not None:
            place = pci(definition, sound.address, who)
        argv += device({"driver": SOUNDS[sound.model], "id": sound.alias, "audiodev": backend, **place})
    return argv


def redirdevs(definition: DomainDef, boot_order: Mapping[str, int]) -> list[str]:
    """USB devices of who looks at the guest, or of who is at the other end."""
    argv: list[str] = []
    rules = definition.devices.redirfilter
    for one in definition.devices.redirdevs:
        argv += ["-chardev", command_chardev.backend(one, f"char{one.alias}", incoming=False, name="usbredir")]
        argv += device(
            {
                "driver": "usb-redir",
                "chardev": f"char{one.alias}",
                "id": one.alias,
                "filter": "|".join(map(_rule, rules.devices)) if rules and rules.devices else None,
                "bootindex": boot_order.get(one.alias or ""),
                **usb_place(definition, one.address, f"redirdev '{one.alias}'"),
            }
        )
    return argv


def _rule(one: FilteredUsb) -> str:
    major, minor = (int(part) for part in one.version.split(".")) if one.version else (0, 0)
    version = f"0x{major // 10 << 12 | major % 10 << 8 | minor // 10 << 4 | minor % 10:04X}" if one.version else "-1"
    kind = "-1" if one.usb_class is None else f"0x{one.usb_class:02X}"
    return f"{kind}:{_number(one.vendor)}:{_number(one.product)}:{version}:{int(one.allow)}"


def _number(told: str | None) -> str:
    return "-1" if told is None else f"0x{int(told, 16):04X}"


def watchdogs(definition: DomainDef) -> list[str]:
    """Watchdogs and what happens when one barks."""
    argv: list[str] = []
    held = definition.devices.watchdogs
    for watchdog in held:
        if watchdog.model == "itco":
            # In the chip of the machine; what counts is a strap, which the guest reads at its next reset.
            argv += ["-global", "ICH9-LPC.noreboot=off"]
            continue
        place = pci(definition, watchdog.address, "watchdog") if watchdog.model == "i6300esb" else {}
        argv += device({"driver": watchdog.model, "id": watchdog.alias, **place})
    # One for all of them (domain.validate).
    return [*argv, "-watchdog-action", held[0].action or "reset"] if held else []


def filesystems(definition: DomainDef) -> list[str]:
    """Folders that the guest can mount, served by QEMU."""
    argv: list[str] = []
    for one in definition.devices.filesystems:
        source = f"fsdev-{one.alias}"
        told = [
            f"local,security_model={SECURITY[one.accessmode or 'passthrough']}",
            *((f"multidevs={one.multidevs}",) if one.multidevs else ()),
            *((f"fmode={one.fmode}",) if one.fmode else ()),
            *((f"dmode={one.dmode}",) if one.dmode else ()),
            *((f"writeout={one.driver.wrpolicy}",) if one.driver and one.driver.wrpolicy else ()),
            *(f"id={source}", f"path={comma(one.source.dir or '')}"),
            *(("readonly",) if one.readonly else ()),
        ]
        argv += ["-fsdev", ",".join(told)]
        device_ = {**virtio("virtio-9p", one.model, one.driver), "id": one.alias, "fsdev": source}
        place = pci(definition, one.address, f"filesystem '{one.alias}'")
        argv += device({**device_, "mount_tag": one.target, **place})
    return argv


# How QEMU's server keeps whom a file belongs to.
SECURITY = {"passthrough": "passthrough", "mapped": "mapped", "squash": "none"}


def iommus(definition: DomainDef) -> list[str]:
    """The guest's IOMMU, before every device that is behind it."""
    one = definition.devices.iommu
    if one is None:
        return []
    told = one.driver or IommuDriver()
    if one.model == "virtio":
        return device({"driver": "virtio-iommu", "id": one.alias, **pci(definition, one.address, "iommu")})
    switches = {name: None if value is None else on_off(value) for name, value in (("intremap", told.intremap),)}
    return device(
        {
            "driver": "intel-iommu",
            "id": one.alias,
            **switches,
            "caching-mode": told.caching_mode,
            "eim": None if told.eim is None else on_off(told.eim),
            "device-iotlb": told.iotlb,
            "aw-bits": told.aw_bits,
        }
    )


# Where the kernel has memory with a name: who knows the name shares it, and is meant to.
SHARED = "/dev/shm"  # noqa: S108  # see above


def shmems(definition: DomainDef) -> list[str]:
    """Memory that guests share."""
    argv: list[str] = []
    for one in definition.devices.shmems:
        place = pci(definition, one.address, f"shmem '{one.alias}'")
        if one.model == "ivshmem-plain":
            memory = {"qom-type": "memory-backend-file", "id": f"shmmem-{one.alias}"}
            path = f"{SHARED}/{one.name}"
            argv += option("-object", {**memory, "mem-path": path, "size": one.bytes, "share": True})
            role = None if one.role is None else on_off(one.role == "master")
            told = {"driver": "ivshmem-plain", "id": one.alias, "memdev": f"shmmem-{one.alias}", "master": role}
            argv += device({**told, **place})
            continue
        msi = one.msi or ShmemMsi()
        path = (one.server.path if one.server else None) or f"/var/lib/libvirt/shmem-{one.name}-sock"
        told = {"driver": "ivshmem-doorbell", "id": one.alias, "chardev": f"char{one.alias}"}
        argv += device({**told, "vectors": msi.vectors, "ioeventfd": msi.ioeventfd, **place})
        argv += ["-chardev", f"socket,id=char{one.alias},path={comma(path)}"]
    return argv


def vsock(definition: DomainDef, fd: int | None) -> list[str]:
    """Sockets between guest and host; ``fd``: of the kernel's end, which has the guest's number already."""
    one = definition.devices.vsock
    if one is None:
        return []
    number = (one.cid.address if one.cid else None) or 0
    told = {**virtio("vhost-vsock", one.model, one.driver), "id": one.alias, "guest-cid": number}
    return device({**told, "vhostfd": str(-1 if fd is None else fd), **pci(definition, one.address, "vsock")})


def panics(definition: DomainDef) -> list[str]:
    """Ports by which the guest tells that it is lost; the register of the hypervisor is a property of the CPU."""
    argv: list[str] = []
    for one in definition.devices.panics:
        if one.model == "isa":
            port = one.address.iobase if isinstance(one.address, IsaAddress) else None
            argv += device({"driver": "pvpanic", "ioport": port})
    return argv


def memballoon(definition: DomainDef) -> list[str]:
    """The balloon, if there is one."""
    balloon = definition.devices.memballoon
    if balloon is None or balloon.model == "none":
        return []
    return device(
        {
            **virtio("virtio-balloon", balloon.model, balloon.driver),
            "id": balloon.alias,
            "deflate-on-oom": balloon.autodeflate,
            "free-page-reporting": balloon.free_page_reporting,
            **pci(definition, balloon.address, "memballoon"),
        }
    )


def rngs(definition: DomainDef) -> list[str]:
    """Random number generators and their sources."""
    argv: list[str] = []
    for rng in definition.devices.rngs:
        name = f"obj{rng.alias}"
        path = (rng.backend.path or "/dev/random") if rng.backend.model == "random" else None
        line = f"char{rng.alias}" if rng.backend.model == "egd" else None
        if line is not None:
            argv += ["-chardev", command_chardev.backend(rng.backend, line, incoming=False)]
        kind = f"rng-{rng.backend.model}"
        argv += option("-object", {"qom-type": kind, "id": name, "chardev": line, "filename": path})
        argv += device(
            {
                **virtio("virtio-rng", rng.model, rng.driver),
                "rng": name,
                "id": rng.alias,
                "max-bytes": rng.rate.bytes if rng.rate else None,
                "period": (rng.rate.period or 1000) if rng.rate else None,
                **pci(definition, rng.address, f"rng '{rng.alias}'"),
            }
        )
    return argv
