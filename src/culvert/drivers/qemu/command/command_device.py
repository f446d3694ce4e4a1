"""``-device`` of controllers, hubs, inputs, videos, watchdogs, balloon and rngs; ``-vnc``.

Source: qemu/qemu_command.c of libvirt 9.0; property names are QEMU's.
"""

from __future__ import annotations

from typing import Any

from culvert.domain.address import UsbAddress
from culvert.domain.controller import Controller, ControllerTarget
from culvert.domain.definition import DomainDef
from culvert.domain.display import Graphics, Input, Video, virtio_device
from culvert.drivers.qemu.command.command_syntax import comma, controller_alias, device, option, pci
from culvert.ground import errors

# The order in which controllers stand on libvirt's command line: a bus before what is plugged into it.
CONTROLLER_ORDER = ("pci", "usb", "ide", "sata", "virtio-serial")

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
}

PRIMARY_VIDEO = {"vga": "VGA", "cirrus": "cirrus-vga", "bochs": "bochs-display"}
VIRTIO_VIDEO = {"virtio-vga": "virtio-vga", "virtio-gpu": "virtio-gpu-pci"}

USB_INPUTS = {"mouse": "usb-mouse", "tablet": "usb-tablet", "keyboard": "usb-kbd"}

FIRST_VNC_PORT = 5900  # display 0


def controllers(definition: DomainDef) -> list[str]:
    """All controllers that are not part of the machine."""
    argv: list[str] = []
    for kind in CONTROLLER_ORDER:
        for controller in definition.devices.controllers:
            if controller.type == kind:
                properties = _controller(definition, controller)
                argv += device(properties) if properties else []
    return argv


def _controller(definition: DomainDef, controller: Controller) -> dict[str, Any] | None:
    who = f"{controller.type} controller {controller.index}"
    match controller.type:
        case "pci":
            if controller.model in BUILT_IN:
                return None
            return {**_bridge(controller), **pci(definition, controller.address, who)}
        case "usb":
            return _usb(definition, controller, who)
        case "sata" if not (definition.is_q35 and controller.index == 0):
            return {"driver": "ahci", "id": controller.alias, **pci(definition, controller.address, who)}
        case "virtio-serial":
            return {
                "driver": "virtio-serial-pci",
                "id": controller.alias,
                "max_ports": controller.ports,
                "vectors": controller.vectors,
                **pci(definition, controller.address, who),
            }
        case _:
            return None  # ide of the PIIX3, sata of the ICH9


def _bridge(controller: Controller) -> dict[str, Any]:
    target = controller.target or ControllerTarget()
    match controller.model:
        case "pcie-root-port":
            return {
                "driver": "pcie-root-port",
                "port": target.port,
                "chassis": target.chassis,
                "id": controller.alias,
            }
        case "pcie-to-pci-bridge":
            return {"driver": "pcie-pci-bridge", "id": controller.alias}
        case _:
            return {"driver": "pci-bridge", "chassis_nr": target.chassis_number, "id": controller.alias}


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


def _usb_place(definition: DomainDef, address: object, who: str) -> dict[str, Any]:
    if not isinstance(address, UsbAddress) or address.port is None:
        raise errors.InternalError(f"internal error: {who} has no USB address")
    return {"bus": f"{controller_alias(definition, 'usb', address.bus, who)}.0", "port": address.port}


def hubs(definition: DomainDef) -> list[str]:
    """USB hubs, which stand before everything plugged into them."""
    argv: list[str] = []
    for hub in definition.devices.hubs:
        place = _usb_place(definition, hub.address, "usb hub")
        argv += device({"driver": "usb-hub", "id": hub.alias, **place})
    return argv


def inputs(definition: DomainDef) -> list[str]:
    """Inputs on usb and virtio; those on ps2 are part of the machine."""
    argv: list[str] = []
    for one in definition.devices.inputs:
        if one.bus != "ps2":
            argv += device(_input(definition, one))
    return argv


def _input(definition: DomainDef, one: Input) -> dict[str, Any]:
    who = f"input '{one.alias}'"
    if one.bus == "virtio":
        driver = f"virtio-{one.type}-pci"
        return {"driver": driver, "id": one.alias, **pci(definition, one.address, who)}
    return {"driver": USB_INPUTS[one.type], "id": one.alias, **_usb_place(definition, one.address, who)}


def graphics(definition: DomainDef) -> list[str]:
    """``-audiodev`` and ``-vnc``. Raises ``errors.InternalError`` for a server whose port is not resolved."""
    argv: list[str] = []
    devices = definition.devices
    for audio in devices.audios:
        argv += option("-audiodev", {"id": f"audio{audio.id}", "driver": audio.type})
    for one in devices.graphics:
        sound = f",audiodev=audio{devices.audios[0].id}" if devices.audios else ""
        argv += ["-vnc", f"{_vnc(one)}{sound}"]
        if one.keymap:
            argv += ["-k", one.keymap]
    return argv


def _vnc(one: Graphics) -> str:
    if any(listen.type == "none" for listen in one.listens):
        return "none"
    if one.port is None or one.port < 0:
        raise errors.InternalError("internal error: the VNC server has no port")
    if one.port < FIRST_VNC_PORT:
        raise errors.ConfigUnsupported(f"unsupported configuration: VNC port must be {FIRST_VNC_PORT} or above")
    host = one.address or "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    password = ",password=on" if one.passwd is not None else ""
    share = f",share={one.share_policy}" if one.share_policy else ""
    return f"{comma(host)}:{one.port - FIRST_VNC_PORT}{password}{share}"


def videos(definition: DomainDef) -> list[str]:
    """Video cards; the first is the primary one."""
    argv: list[str] = []
    for number, video in enumerate(definition.devices.videos):
        if video.model.type != "none":
            place = pci(definition, video.address, f"video '{video.alias}'")
            argv += device({**_video(video, primary=number == 0), **place})
    return argv


def _video(video: Video, *, primary: bool) -> dict[str, Any]:
    kind, vram = video.model.type, video.model.vram
    if not primary and kind != "virtio":
        raise errors.ConfigUnsupported(
            f"unsupported configuration: video type '{kind}' is only valid as primary video device"
        )
    virtio = virtio_device(video.model, primary=primary)
    return {
        "driver": VIRTIO_VIDEO[virtio] if virtio else PRIMARY_VIDEO[kind],
        "id": video.alias,
        "max_outputs": (video.model.heads or 1) if kind == "virtio" else None,
        "vgamem_mb": vram // 1024 if kind == "vga" and vram else None,
        "vgamem": vram * 1024 if kind == "bochs" and vram else None,
    }


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


def memballoon(definition: DomainDef) -> list[str]:
    """The balloon, if there is one."""
    balloon = definition.devices.memballoon
    if balloon is None or balloon.model == "none":
        return []
    return device(
        {
            "driver": "virtio-balloon-pci",
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
        argv += option("-object", {"qom-type": f"rng-{rng.backend.model}", "id": name, "filename": path})
        argv += device(
            {
                "driver": "virtio-rng-pci",
                "rng": name,
                "id": rng.alias,
                "max-bytes": rng.rate.bytes if rng.rate else None,
                "period": (rng.rate.period or 1000) if rng.rate else None,
                **pci(definition, rng.address, f"rng '{rng.alias}'"),
            }
        )
    return argv
