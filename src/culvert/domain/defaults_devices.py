"""What libvirt 9.0 adds to ``<devices>`` for pc and q35: names, buses, companions, implied devices.

Source: conf/domain_conf.c and conf/domain_postparse.c (what every driver shares), qemu/qemu_domain.c
(qemuDomainDefAddDefaultDevices, qemuDomainDeviceDefPostParse and below).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from culvert.domain import bus_device, defaults_controllers, disk_source, filesystem, ports, tpm
from culvert.domain.address import PciAddress, UsbAddress
from culvert.domain.audio import Audio, AudioSettings, AudioSide
from culvert.domain.chardev import (
    SERIAL_MODELS,
    ChannelDevice,
    ChardevSource,
    ConsoleDevice,
    ConsoleTarget,
    Parallel,
    ParallelTarget,
    Redirdev,
    Redirfilter,
    Serial,
    SerialTarget,
    Smartcard,
)
from culvert.domain.devices import Devices
from culvert.domain.disk import Disk, DiskDriver, Geometry, IoTune, MetadataCache, MetadataCacheSize
from culvert.domain.disk_source import BackingStore
from culvert.domain.display import Graphics, Input, Listen, Video, VideoModel
from culvert.domain.host import HostFacts
from culvert.domain.interface import VIRTIO, FilterRef, Interface, InterfaceSource, VirtualPort, VirtualPortParameters
from culvert.domain.peripheral import Memballoon, Rng, RngBackend, Watchdog
from culvert.ground import errors, units

MAC_PREFIX = "52:54:00"  # QEMU's own

# Video memory in KiB where the XML says nothing; the others have none to set.
VIDEO_MEMORY = {"vga": 16384, "cirrus": 16384, "bochs": 16384, "qxl": 65536}
QXL_RAM, QXL_VGAMEM = 65536, 16384
SECOND = frozenset({"virtio", "qxl"})  # cards that need not be the primary one


# Server → the kind of the sound's backend.
AUDIO_OF = {"spice": "spice", "vnc": "none"}
LISTENING = frozenset({"address", "network"})

C = TypeVar("C", Serial, Parallel, ConsoleDevice, ChannelDevice, Redirdev, Smartcard, RngBackend)


def complete(devices: Devices, host: HostFacts, *, q35: bool, seed: str) -> Devices:
    """``devices`` as libvirt would complete them, PCI addresses apart. ``seed`` makes up MAC addresses.

    Raises ``errors.ConfigUnsupported`` or ``errors.XMLError`` naming the device that cannot be.
    """
    devices = replace(
        devices,
        emulator=devices.emulator or host.emulator,
        disks=_disks(devices.disks),
        interfaces=tuple(_interface(one, f"{seed}:{place}") for place, one in enumerate(devices.interfaces)),
        filesystems=tuple(filesystem.complete(one) for one in devices.filesystems),
        channels=tuple(_with_mode(one) for one in devices.channels),
        redirdevs=tuple(_with_mode(_on_bus(one)) for one in devices.redirdevs),
        redirfilter=_versions(devices.redirfilter),
        smartcards=tuple(_with_mode(one) for one in devices.smartcards),
        parallels=_numbered_parallels(devices.parallels),
        inputs=_inputs(devices.inputs),
        tpms=tuple(tpm.complete(one) for one in devices.tpms),
        graphics=_graphics(devices.graphics, spice_tls=host.spice_tls),
        audios=tuple(_sides(one) for one in devices.audios) or _audio(devices.graphics),
        videos=_videos(devices),
        watchdogs=_watchdogs(devices.watchdogs, implicit=q35 and host.itco),
        memballoon=devices.memballoon or Memballoon(model="virtio"),
        rngs=tuple(_rng(one) for one in devices.rngs),
        shmems=tuple(bus_device.complete_shmem(one) for one in devices.shmems),
        vsock=devices.vsock and bus_device.complete_vsock(devices.vsock),
        panics=tuple(replace(one, model=one.model or "isa") for one in devices.panics),
    )
    devices = ports.assign(defaults_controllers.complete(_with_consoles(devices), q35=q35))
    devices = defaults_controllers.with_scsi_models(devices)
    defaults_controllers.check(devices, q35=q35)  # once more: disks have called for controllers
    return devices


def _watchdogs(watchdogs: Sequence[Watchdog], *, implicit: bool) -> tuple[Watchdog, ...]:
    """With the one that a q35 machine has by itself, if it is to be seen; QEMU has one action for all of them."""
    given = tuple(replace(one, action=one.action or "reset") for one in watchdogs)
    if not implicit or any(one.model == "itco" for one in given):
        return given
    return (*given, Watchdog(model="itco", action=given[0].action if given else "reset"))


def complete_disk(disk: Disk) -> Disk:
    """One disk as libvirt would complete it, its place apart. Raises as ``complete``."""
    return _disk(disk)


def complete_interface(interface: Interface, seed: str) -> Interface:
    """One card, likewise."""
    return _interface(interface, seed)


def complete_rng(rng: Rng) -> Rng:
    """One generator, likewise."""
    return _rng(rng)


def complete_line(device: C) -> C:
    """One character device, likewise."""
    return _with_mode(device)


def complete_input(one: Input) -> Input:
    """One input, likewise."""
    return one if one.bus or one.type == "evdev" else replace(one, bus=INPUT_BUS.get(one.type, "ps2"))


def with_disk(disks: Sequence[Disk], new: Disk) -> tuple[Disk, ...]:
    """``disks`` and ``new`` in its place among those of its bus."""
    held = list(disks)
    _insert(held, new)
    return tuple(held)


def _disks(disks: Sequence[Disk]) -> tuple[Disk, ...]:
    """As ``with_disk`` one after the other: by bus in the order in which buses first come, there by target's name.

    The bus is the one that is written: those that name none are together, for libvirt sorts before it gives them one.
    """
    buses: dict[str | None, list[Disk]] = {}
    names: set[str] = set()
    for disk in disks:
        one = _disk(disk)
        if one.target.dev in names:
            raise errors.XMLError(f"XML error: target '{one.target.dev}' duplicated for disk sources")
        names.add(one.target.dev)
        buses.setdefault(disk.target.bus, []).append(one)
    tuned = _groups([one for held in buses.values() for one in held])
    return tuple(
        _in_its_group(one, tuned)
        for held in buses.values()
        for one in sorted(held, key=lambda disk: disk.target.number)
    )


def _groups(disks: Sequence[Disk]) -> dict[str, IoTune]:
    """Name of a group of throttled disks → what the first that says so says of it."""
    found: dict[str, IoTune] = {}
    for tune in (disk.iotune for disk in disks):
        if tune is not None and tune.group_name and tune != IoTune(group_name=tune.group_name):
            found.setdefault(tune.group_name, tune)
    return found


def _in_its_group(disk: Disk, tuned: dict[str, IoTune]) -> Disk:
    """With the limits of its group, where it names that alone (virDomainDiskExpandGroupIoTune)."""
    group = disk.iotune.group_name if disk.iotune else None
    if group is None or disk.iotune != IoTune(group_name=group):
        return disk
    return replace(disk, iotune=tuned.get(group, disk.iotune))


def _disk(disk: Disk) -> Disk:
    name = disk.target.dev
    driver = disk.driver or DiskDriver()
    cdrom = disk.is_cdrom
    if cdrom and disk.bus == "virtio":
        raise errors.ConfigUnsupported(
            f"unsupported configuration: disk '{name}': a cdrom cannot be on the virtio bus"
        )
    if disk.is_floppy != (disk.bus == "fdc"):
        raise errors.InternalError(f"internal error: disk '{name}': a floppy is on bus 'fdc', and nothing else is")
    if disk.type in ("network", "volume") and disk.source is None:
        raise errors.XMLError(f"XML error: disk '{name}' of type '{disk.type}' has no <source>")
    source = disk_source.complete(disk.source, disk.type) if disk.source else None
    empty = source is None or source.is_empty(disk.type)
    if not disk.is_removable and empty:
        attribute = "dev" if disk.type == "block" else "file"
        raise errors.NoSource(f"missing source information for device {name}: <source {attribute}='…'/>")
    return replace(
        disk,
        device=disk.device or "disk",
        source=source,
        backing_store=_chain(disk.backing_store),
        # A volume's format is that of the volume, unless it is said.
        driver=replace(
            driver,
            name="qemu",
            type=driver.type or (None if disk.type == "volume" else "raw"),
            metadata_cache=_in_bytes(driver.metadata_cache) if driver.metadata_cache else None,
        ),
        encryption=disk.encryption and replace(disk.encryption, engine=disk.encryption.engine or "qemu"),
        geometry=_geometry(disk.geometry),
        target=replace(disk.target, bus=disk.bus),
        readonly=disk.readonly or cdrom,
        snapshot=None if disk.snapshot == "no" and (disk.readonly or cdrom) else disk.snapshot,
    )


def _chain(store: BackingStore | None) -> BackingStore | None:
    """The images below, each as a disk's own source is."""
    if store is None or store.type is None:
        return store
    source = disk_source.complete(store.source, store.type) if store.source else None
    return replace(store, source=source, backing_store=_chain(store.backing_store))


def _in_bytes(cache: MetadataCache) -> MetadataCache | None:
    size = cache.max_size
    if size is None or not size.value:
        return None
    return MetadataCache(max_size=MetadataCacheSize(unit="bytes", value=units.to_bytes(size.value, size.unit or "")))


def _geometry(told: Geometry | None) -> Geometry | None:
    """What is not whole says nothing (virDomainDiskGeometryDefFormat)."""
    return told if told is not None and told.cyls and told.heads and told.secs else None


def _insert(held: list[Disk], new: Disk) -> None:
    """Put ``new`` among the disks of its bus by its target's name, behind all others if it is the first there."""
    same = [place for place, disk in enumerate(held) if disk.bus == new.bus]
    after = [place for place in same if held[place].target.number > new.target.number]
    held.insert(after[0] if after else same[-1] + 1 if same else len(held), new)


def _interface(interface: Interface, seed: str) -> Interface:
    source = _source(interface)
    digest = hashlib.sha256(seed.encode()).hexdigest()
    mac = f"{MAC_PREFIX}:{digest[0:2]}:{digest[2:4]}:{digest[4:6]}"
    model = interface.model or "rtl8139"
    # What is said of a virtio card's back end says nothing of another one's.
    driver = interface.driver if model in VIRTIO else None
    ips = tuple(replace(ip, family="ipv6" if ":" in ip.address else "ipv4") for ip in interface.ips)
    return replace(
        interface,
        mac=interface.mac or mac,
        source=source,
        virtualport=_virtual_port(interface.virtualport, digest),
        filterref=_sorted(interface.filterref),
        ips=ips,
        model=model,
        driver=driver,
    )


def _sorted(filterref: FilterRef | None) -> FilterRef | None:
    if filterref is None:
        return None
    return replace(filterref, parameters=tuple(sorted(filterref.parameters, key=lambda one: one.name)))


def _virtual_port(port: VirtualPort | None, digest: str) -> VirtualPort | None:
    """One of Open vSwitch has a name of its own (virNetDevVPortProfileParse)."""
    if port is None or port.type != "openvswitch":
        return port
    told = port.parameters or VirtualPortParameters()
    made = str(uuid.UUID(digest[:32], version=4))
    return replace(port, parameters=replace(told, interfaceid=told.interfaceid or made))


# Kind of a card → what its source must say, and what it may say besides.
SOURCES: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "user": (None, ("dev",)),
    "ethernet": (None, ()),
    "bridge": ("bridge", ("network", "portgroup", "portid")),
    "network": ("network", ("portgroup", "portid", "bridge")),
    "direct": ("dev", ("mode", "network", "portgroup", "portid")),
    "server": ("port", ("address",)),
    "client": ("port", ("address",)),
    "mcast": ("port", ("address",)),
    "udp": ("port", ("address", "local")),
}
SOCKETS = ("server", "client", "mcast", "udp")


def _source(interface: Interface) -> InterfaceSource | None:
    needed, may = SOURCES[interface.type]
    source = interface.source or InterfaceSource()
    if needed is not None and getattr(source, needed) is None:
        which = "socket interface" if interface.type in SOCKETS else f"<interface type='{interface.type}'/>"
        raise errors.XMLError(f"XML error: No <source> '{needed}' attribute specified with {which}")
    if interface.type in SOCKETS and interface.type != "server" and source.address is None:
        raise errors.XMLError("XML error: No <source> 'address' attribute specified with socket interface")
    if interface.type == "udp" and (source.local is None or None in (source.local.address, source.local.port)):
        raise errors.XMLError("XML error: No <local> 'address' or 'port' attribute specified with socket interface")
    for name in ("network", "portgroup", "portid", "bridge", "dev", "mode", "address", "port", "local"):
        if getattr(source, name) is not None and name not in (needed, *may):
            raise errors.ConfigUnsupported(
                f"unsupported configuration: an interface of type '{interface.type}' has no source {name}"
            )
    if interface.type == "direct":
        source = replace(source, mode=source.mode or "vepa")
    if interface.type == "user" and not interface.is_passt:
        source = replace(source, dev=None)  # libvirt forgets it, too: QEMU's own network asks the host for the way
    return None if source == InterfaceSource() else source


def _with_mode(chardev: C) -> C:
    """A unix socket whose path is given but not its mode is one to connect to (virDomainChrSourceDefParseMode); what
    udp listens on comes first."""
    source, second = chardev.source, chardev.second
    chardev = replace(chardev, protocol=(chardev.protocol or "raw") if chardev.type == "tcp" else None)
    if chardev.type == "udp":
        both = [one for one in (source, second) if one is not None]
        both = [replace(one, mode=one.mode or "connect", reconnect=None) for one in both]
        both.sort(key=lambda one: one.mode != "bind")
        return replace(chardev, source=both[0] if both else None, second=both[1] if len(both) > 1 else None)
    if second is not None:
        raise errors.XMLError("XML error: <source> is there more than once for a device of another type than udp")
    if chardev.type not in ("unix", "tcp") or source is None:
        return chardev
    if chardev.type == "unix" and source.path is None:
        return replace(chardev, source=None)
    return replace(chardev, source=replace(source, mode=source.mode or "connect"))


AS_CONSOLE = frozenset({"isa-serial", "pci-serial"})  # types of serial ports that are consoles, too


def _with_consoles(devices: Devices) -> Devices:
    """Number the ports; the first console and the first serial port are one, each implies the other.

    Source: virDomainDefAddConsoleCompat.
    """
    serials = _numbered_serials(devices.serials)
    consoles = _numbered_consoles(devices.consoles)
    first = consoles[0] if consoles and not consoles[0].is_virtio else None
    if any(not console.is_virtio for console in consoles[1:]):
        raise errors.ConfigUnsupported("unsupported configuration: Only the first console can be a serial port")
    if first is not None and not serials:
        serials = _numbered_serials(
            (
                Serial(
                    type=first.type, source=first.source, second=first.second, protocol=first.protocol, log=first.log
                ),
            )
        )
    if serials and serials[0].target and serials[0].target.type in AS_CONSOLE:
        one = serials[0]
        assert one.target is not None
        twin = ConsoleDevice(
            type=one.type,
            source=one.source,
            second=one.second,
            protocol=one.protocol,
            log=one.log,
            target=ConsoleTarget(type="serial", port=one.target.port),
            alias=one.alias,
            address=one.address,
        )
        consoles = (twin, *(consoles[1:] if first is not None else consoles))
    return replace(devices, serials=serials, consoles=consoles)


# Type of an address → that of the serial port which has it, where nothing else is said.
SERIAL_BY_ADDRESS = {PciAddress: "pci-serial", UsbAddress: "usb-serial"}


def _numbered_serials(serials: Sequence[Serial]) -> tuple[Serial, ...]:
    highest = -1
    numbered = []
    for serial in serials:
        target = serial.target or SerialTarget()
        port = highest + 1 if target.port is None else target.port
        highest = max(highest, port)
        kind = target.type or SERIAL_BY_ADDRESS.get(type(serial.address), "isa-serial")
        if port > 3 and kind == "isa-serial":
            raise errors.ConfigUnsupported("unsupported configuration: there are at most four ISA serial ports")
        if target.model not in (None, SERIAL_MODELS[kind]):
            raise errors.ConfigUnsupported(
                f"unsupported configuration: Target model '{target.model}' requires target type other than '{kind}'"
            )
        target = replace(target, type=kind, port=port, model=SERIAL_MODELS[kind])
        numbered.append(replace(_with_mode(serial), target=target))
    if len({one.target.port for one in numbered if one.target}) < len(numbered):
        raise errors.XMLError("XML error: two serial ports have the same number")
    return tuple(numbered)


def _numbered_parallels(parallels: Sequence[Parallel]) -> tuple[Parallel, ...]:
    highest = -1
    numbered = []
    for one in parallels:
        told = one.target.port if one.target else None
        port = highest + 1 if told is None else told
        highest = max(highest, port)
        numbered.append(replace(_with_mode(one), target=ParallelTarget(port=port)))
    return tuple(numbered)


def _numbered_consoles(consoles: Sequence[ConsoleDevice]) -> tuple[ConsoleDevice, ...]:
    highest = -1
    numbered = []
    for console in consoles:
        target = console.target or ConsoleTarget()
        port = highest + 1 if target.port is None else target.port
        highest = max(highest, port)
        numbered.append(replace(_with_mode(console), target=replace(target, type=target.type or "serial", port=port)))
    return tuple(numbered)


def _on_bus(one: Redirdev) -> Redirdev:
    """By a name of QEMU's own where none is said (qemuDomainRedirdevDefPostParse)."""
    if one.type == "dbus" and (one.source is None or one.source.channel is None):
        return replace(one, source=replace(one.source or ChardevSource(), channel="org.qemu.usbredir"))
    return one


def _versions(rules: Redirfilter | None) -> Redirfilter | None:
    """With two digits behind the point."""
    if rules is None:
        return None
    told = tuple(
        replace(one, version="{}.{:0<2}".format(*one.version.split("."))) if one.version else one
        for one in rules.devices
    )
    return replace(rules, devices=told)


def _rng(rng: Rng) -> Rng:
    if rng.backend.model == "egd":
        return replace(rng, backend=_with_mode(rng.backend))
    if rng.backend.model == "builtin" or rng.backend.path is not None:
        return rng
    return replace(rng, backend=replace(rng.backend, path="/dev/random"))


INPUT_BUS = {"tablet": "usb", "passthrough": "virtio"}


def _inputs(inputs: Sequence[Input]) -> tuple[Input, ...]:
    """A bus for each, and the mouse and the keyboard every PC has."""
    held = [
        one if one.bus or one.type == "evdev" else replace(one, bus=INPUT_BUS.get(one.type, "ps2")) for one in inputs
    ]
    if any(one.type == "tablet" and one.bus == "ps2" for one in held):
        raise errors.ConfigUnsupported("unsupported configuration: ps2 bus does not support tablet input device")
    for kind in ("mouse", "keyboard"):
        if not any(one.type == kind and one.bus == "ps2" for one in held):
            held.append(Input(type=kind, bus="ps2"))
    return tuple(held)


def _audio(graphics: Sequence[Graphics]) -> tuple[Audio, ...]:
    """Sound goes where the last server has it: to who looks by SPICE, or nowhere; other screens say nothing of it.

    Source: qemuDomainDefSuggestDefaultAudioBackend.
    """
    kinds = [AUDIO_OF[one.type] for one in graphics if one.type in AUDIO_OF]
    if graphics and not kinds:
        return ()
    return (Audio(id=1, type=kinds[-1] if kinds else "none"),)


def _sides(one: Audio) -> Audio:
    """Settings count where they are fixed."""

    def settled(side: AudioSide | None) -> AudioSide | None:
        if side is None:
            return None
        return replace(side, settings=side.settings or AudioSettings()) if side.fixed_settings else side

    return replace(one, input=settled(one.input), output=settled(one.output))


def _graphics(graphics: Sequence[Graphics], *, spice_tls: bool) -> tuple[Graphics, ...]:
    if not spice_tls and any(one.is_spice and (one.tls_port or 0) > 0 for one in graphics):
        raise errors.ConfigUnsupported(
            "unsupported configuration: spice TLS port set in XML configuration (/domain/devices/graphics/@tlsPort),"
            " but TLS is disabled here (spice_tls in culvertd.toml)"
        )
    if len({one.type for one in graphics}) < len(graphics):
        raise errors.ConfigUnsupported("unsupported configuration: only 1 graphics device of each type is supported")
    return tuple(_server(one) for one in graphics)


def _server(one: Graphics) -> Graphics:
    if not one.is_server:
        return one
    if one.gl is not None and one.gl.enable and one.type == "vnc":
        raise errors.ConfigUnsupported(
            "unsupported configuration: /domain/devices/graphics/gl is not supported by culvert for type 'vnc'"
        )
    if one.type == "vnc" and one.socket is not None and not one.listens:
        one = replace(one, listens=(Listen(type="socket", socket=one.socket),))
    one = replace(one, channels=tuple(channel for channel in one.channels if channel.mode != "any"))
    if one.is_spice and one.kind in LISTENING and not one.autoport and not (one.port or one.tls_port):
        # Nobody has asked for a port (virDomainGraphicsListensParseXML).
        one = replace(one, listens=(Listen(type="none"),), listen=None)
    if one.kind == "socket":
        path = one.listens[0].socket if one.type == "vnc" else None
        return replace(one, socket=path, port=None, tls_port=None, autoport=None, listen=None)
    if one.kind == "none":
        return replace(one, port=None, tls_port=None, autoport=None, listen=None)
    if one.listen and any(listen.address and listen.address != one.listen for listen in one.listens):
        raise errors.XMLError(
            f"XML error: graphics 'listen' attribute '{one.listen}' must match 'address' of its listen element"
        )
    if one.is_spice:
        auto = bool(one.autoport)
        one = replace(one, port=None if auto else one.port or None, tls_port=None if auto else one.tls_port)
    else:
        auto = one.port in (None, -1) or bool(one.autoport)
        one = replace(one, port=-1 if auto else one.port)
    return replace(
        one,
        autoport=auto,
        listen=one.address,
        listens=one.listens or (Listen(type="address", address=one.listen),),
    )


def _videos(devices: Devices) -> tuple[Video, ...]:
    """A card where there is a screen to show it on; the first one is the primary."""
    videos = devices.videos
    if not videos and devices.graphics:
        videos = (Video(model=VideoModel(type="cirrus")),)
    if sum(1 for one in videos if one.model.primary) > 1:
        raise errors.ConfigUnsupported("unsupported configuration: only one video device can be the primary one")
    # The primary one first, wherever it was written.
    videos = tuple(sorted(videos, key=lambda one: not one.model.primary))
    completed = []
    for place, video in enumerate(videos):
        model = video.model
        if model.type == "none":
            if len(videos) > 1:
                raise errors.ConfigUnsupported(
                    "unsupported configuration: a 'none' video type must be the only video device"
                )
        elif place > 0 and model.type not in SECOND:
            raise errors.ConfigUnsupported(
                f"unsupported configuration: video type '{model.type}' is only valid as primary video device"
            )
        else:
            # A power of two, as libvirt makes it; nothing is nothing said.
            vram = _power(model.vram) or VIDEO_MEMORY.get(model.type)
            if model.type == "qxl":
                ram, vgamem = _power(model.ram) or QXL_RAM, _power(model.vgamem) or QXL_VGAMEM
                model = replace(model, ram=ram, vgamem=vgamem, vram64=_power(model.vram64))
            else:
                model = replace(model, ram=None, vgamem=None, vram64=None)
            if model.device and model.type != "virtio":
                raise errors.ConfigUnsupported(
                    f"unsupported configuration: /domain/devices/video/model/@device '{model.device}' is not"
                    " supported by culvert for this card: leave it out"
                )
            primary = True if place == 0 else None
            model = replace(model, vram=vram, heads=model.heads or 1, primary=primary)
        completed.append(replace(video, model=model))
    return tuple(completed)


def _power(size: int | None) -> int | None:
    """The next power of two; None where nothing is said, or nothing wanted."""
    return 1 << (size - 1).bit_length() if size else None
