"""The command line of a domain: ``build(definition, options, abilities)``, a pure function.

It is the command line libvirt would give the same definition, in the same order, for everything that is part of
the migration ABI (machine, memory, CPU, every device with its place, ROMs, timers), so that a guest can move between
a libvirtd and a culvertd and back: libvirt 9.0 for QEMU 7.2, and for later ones the libvirt of their time, by what
QEMU itself says that it knows (``abilities``). It differs where the ABI is not touched: no masterKey secret, files
of character devices by path.

The definition must be complete (``domain.defaults.complete``) and prepared (``domain.start.prepare``), ports of VNC
servers resolved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from culvert.domain.chardev import Redirdev
from culvert.domain.definition import DomainDef
from culvert.domain.disk import Disk
from culvert.domain.features import Features, Smm, Toggle
from culvert.domain.interface import Interface
from culvert.domain.passthrough import QemuCommandline
from culvert.domain.platform import Clock, Pm
from culvert.drivers.qemu.abilities.ability import Abilities, Ability
from culvert.drivers.qemu.command import (
    command_chardev,
    command_cpu,
    command_device,
    command_disk,
    command_firmware,
    command_memory,
    command_network,
    command_screen,
    command_smbios,
    command_tpm,
)
from culvert.drivers.qemu.command.command_memory import MemoryPlaces
from culvert.drivers.qemu.command.command_syntax import comma, device, on_off, option
from culvert.ground import errors, units

# docs of libvirt's qemu.conf, seccomp_sandbox: what libvirt 9.0 passes.
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

ACCELERATORS = {"kvm": "kvm", "qemu": "tcg"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """What is decided at start and is not in the definition.

    ``monitor_fd``: a listening UNIX socket the process inherits; or ``monitor_path``, a socket QEMU makes itself.
    ``incoming``: wait for a migration (``-incoming defer``). ``tap_fds`` and ``vhost_fds``: descriptors by position
    of the interface. ``secret_fds``: name of a secret object → the descriptor with its value.
    ``channel_directory``: where sockets of channels without a path are made. ``now``: seconds of the epoch, for a
    clock that is so much from it. ``spice_tls``: the folder with certificates of SPICE servers.
    """

    monitor_fd: int | None = None
    monitor_path: str | None = None
    incoming: bool = False
    tap_fds: Mapping[int, command_network.Descriptors] = field(default_factory=dict)
    vhost_fds: Mapping[int, command_network.Descriptors] = field(default_factory=dict)
    channel_directory: str | None = None
    secret_fds: Mapping[str, int] = field(default_factory=dict)
    memory: MemoryPlaces = command_memory.NO_PLACES
    now: float = 0.0
    vsock_fd: int | None = None
    spice_tls: str | None = None
    sandbox: bool = True


def build(definition: DomainDef, options: LaunchOptions, abilities: Abilities) -> list[str]:
    """The arguments, the emulator first; ``abilities`` are that emulator's.

    Raises ``errors.ConfigUnsupported`` for a combination QEMU or culvert cannot do, ``errors.InternalError`` for a
    definition that is not complete.
    """
    emulator = definition.devices.emulator
    if emulator is None or not definition.machine or definition.uuid is None:
        raise errors.InternalError(f"internal error: the definition of domain '{definition.name}' is not complete")
    boot_order = bootindexes(definition)
    argv = [
        emulator,
        *("-name", f"guest={comma(definition.name)},debug-threads=on", "-S"),
        *command_firmware.images(definition),
        *("-machine", _machine(definition, abilities)),
        *("-accel", _accelerator(definition)),
        *_tseg(definition),
        *command_cpu.cpu(definition),
        *command_firmware.loader(definition),
        *command_memory.size(definition, options.memory),
        *command_cpu.smp(definition),
        *command_memory.nodes(definition, options.memory),
        *_iothreads(definition),
        *("-uuid", definition.uuid),
        *command_smbios.smbios(definition),
        *_genid(definition),
        *(() if definition.devices.graphics else ("-display", "none")),
        *("-no-user-config", "-nodefaults"),
        *_monitor(options, abilities),
        *_time(definition, abilities, options.now),
        *("-no-shutdown",),
        *(() if _features(definition).acpi or Ability.MACHINE_ACPI in abilities else ("-no-acpi",)),
        *_power(definition),
        *_boot(definition),
        *command_device.iommus(definition),
        *command_device.globals_of_roots(definition),
        *command_device.controllers(definition),
        *command_memory.modules(definition, options.memory),
        *command_device.hubs(definition),
        *command_device.controllers(definition, command_device.AFTER_HUBS),
        *command_disk.disks(definition, boot_order, options.secret_fds),
        *command_device.filesystems(definition),
        *command_network.interfaces(definition, boot_order, options.tap_fds, options.vhost_fds),
        *command_chardev.chardevs(definition, incoming=options.incoming, channel_directory=options.channel_directory),
        *command_tpm.tpms(definition, options.channel_directory),
        *command_device.inputs(definition),
        *command_screen.graphics(definition, options.channel_directory, options.spice_tls),
        *command_device.videos(definition),
        *command_device.sounds(definition),
        *command_device.watchdogs(definition),
        *command_device.redirdevs(definition, boot_order),
        *(("-incoming", "defer") if options.incoming else ()),
        *command_device.memballoon(definition),
        *command_device.rngs(definition),
        *(device({"driver": "vmcoreinfo"}) if _is_on(_features(definition).vmcoreinfo) else ()),
        *(word.value for word in (definition.qemu_commandline or QemuCommandline()).arguments),
        *(("-sandbox", SANDBOX) if options.sandbox else ()),
        *command_device.panics(definition),
        *command_device.shmems(definition),
        *command_device.vsock(definition, options.vsock_fd),
        *("-msg", "timestamp=on"),
    ]
    return command_chardev.for_milliseconds(argv) if Ability.RECONNECT_MS in abilities else argv


def bootindexes(definition: DomainDef) -> dict[str, int]:
    """alias → bootindex: each device's own order, or by ``<os><boot>`` the first device of each kind."""
    devices = definition.devices
    bootable: tuple[Disk | Interface | Redirdev, ...] = (*devices.disks, *devices.interfaces, *devices.redirdevs)
    numbered = [(one.alias, one.boot) for one in bootable if one.boot is not None]
    if numbered:
        return {alias or "": order for alias, order in numbered}
    first: dict[str, str | None] = {}
    for disk in devices.disks:
        first.setdefault({"cdrom": "cdrom", "floppy": "fd"}.get(disk.device or "", "hd"), disk.alias)
    for interface in devices.interfaces:
        first.setdefault("network", interface.alias)
    return {
        first[boot.dev] or "": position
        for position, boot in enumerate(definition.os.boot, start=1)
        if boot.dev in first
    }


def _features(definition: DomainDef) -> Features:
    return definition.features or Features()


def _machine(definition: DomainDef, abilities: Abilities) -> str:
    features = _features(definition)
    parts = [definition.machine, "usb=off"]
    for name, toggle in (("vmport", features.vmport), ("smm", features.smm)):
        if isinstance(toggle, Toggle | Smm):
            parts.append(f"{name}={on_off(toggle.state is not False)}")
    if features.ioapic is not None:
        parts.append(f"kernel_irqchip={IRQCHIPS[features.ioapic]}")
    parts += command_memory.arguments(definition)
    parts += command_firmware.of_machine(definition)
    # -no-hpet and -no-acpi, which say the same, are gone since QEMU 9.0.
    hpet = _hpet(definition)
    if hpet is not None and Ability.MACHINE_HPET in abilities:
        parts.append(f"hpet={on_off(hpet)}")
    if Ability.MACHINE_ACPI in abilities:
        parts.append(f"acpi={on_off(features.acpi)}")
    return ",".join(parts)


# driver of <ioapic> → where the interrupt controllers are.
IRQCHIPS = {"kvm": "on", "qemu": "split"}


def _accelerator(definition: DomainDef) -> str:
    """With what it is told of itself."""
    features = _features(definition)
    word = ACCELERATORS[definition.type]
    if definition.type == "qemu":
        cache = features.tcg.tb_cache if features.tcg else None
        return word if cache is None else f"{word},tb-size={cache // 1024}"
    ring = features.kvm.dirty_ring if features.kvm else None
    return f"{word},dirty-ring-size={ring.size}" if ring is not None and ring.state else word


def _tseg(definition: DomainDef) -> list[str]:
    smm = _features(definition).smm
    if smm is None or smm.tseg is None:
        return []
    return [
        "-global",
        f"mch.extended-tseg-mbytes={units.to_bytes(smm.tseg.size, smm.tseg.unit or 'MiB') // units.MiB}",
    ]


def _is_on(toggle: Toggle | None) -> bool:
    return toggle is not None and toggle.state is not False


def _iothreads(definition: DomainDef) -> list[str]:
    argv: list[str] = []
    for one in definition.io_threads:
        argv += option(
            "-object",
            {
                "qom-type": "iothread",
                "id": f"iothread{one.id}",
                "thread-pool-min": one.thread_pool_min,
                "thread-pool-max": one.thread_pool_max,
            },
        )
    loop = definition.default_iothread
    if loop is not None:
        pool = {"thread-pool-min": loop.thread_pool_min, "thread-pool-max": loop.thread_pool_max}
        argv += option("-object", {"qom-type": "main-loop", "id": "main-loop", **pool})
    return argv


def _monitor(options: LaunchOptions, abilities: Abilities) -> list[str]:
    if options.monitor_fd is not None:
        place = f"fd={options.monitor_fd}"
    elif options.monitor_path is not None:
        place = f"path={comma(options.monitor_path)}"
    else:
        raise errors.InternalError("internal error: no monitor socket was given")
    return [
        *("-chardev", f"socket,id=charmonitor,{place},server=on,wait=off"),
        *(
            option("-object", {"qom-type": "monitor-qmp", "id": "monitor", "chardev": "charmonitor"})
            if Ability.MONITOR_OBJECT in abilities
            else ("-mon", "chardev=charmonitor,id=monitor,mode=control")
        ),
    ]


def _genid(definition: DomainDef) -> list[str]:
    if definition.genid is None:
        return []
    return device({"driver": "vmgenid", "guid": definition.genid, "id": "vmgenid0"})


def _hpet(definition: DomainDef) -> bool | None:
    hpet = definition.clock.timer("hpet") if definition.clock else None
    return hpet.present if hpet else None


# track of the clock's timer → QEMU's clock.
TRACKS = {"boot": "host", "guest": "vm", "wall": "host", "realtime": "rt"}


def _base(clock: Clock, now: float) -> str:
    match clock.offset:
        case "variable":
            # The same for a clock of local time: what is told is a time of day, whatever it is called.
            local = datetime.fromtimestamp(now).replace(tzinfo=UTC).timestamp() if clock.basis == "localtime" else now
            return datetime.fromtimestamp(int(local) + int(clock.adjustment or 0), UTC).strftime(MOMENT)
        case "absolute":
            return (EPOCH + timedelta(seconds=clock.start or 0)).strftime(MOMENT)
        case "timezone":
            return "localtime"  # of the zone that is in QEMU's environment
        case offset:
            return offset


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT = "%Y-%m-%dT%H:%M:%S"


def environment(definition: DomainDef) -> dict[str, str]:
    """What QEMU finds in its environment beside what every program does."""
    zone = definition.clock.timezone if definition.clock else None
    own = {one.name: one.value or "" for one in (definition.qemu_commandline or QemuCommandline()).variables}
    return {**command_screen.environment(definition), **({"TZ": zone} if zone else {}), **own}


def _time(definition: DomainDef, abilities: Abilities, now: float) -> Iterator[str]:
    clock = definition.clock
    rtc = clock.timer("rtc") if clock else None
    pit = clock.timer("pit") if clock else None
    base = f"base={_base(clock or Clock(), now)}"
    if rtc is not None and rtc.track is not None:
        base += f",clock={TRACKS[rtc.track]}"
    if rtc is not None and rtc.tickpolicy == "catchup":
        base += ",driftfix=slew"
    yield from ("-rtc", base)
    if pit is not None and pit.tickpolicy in ("delay", "discard"):
        yield from ("-global", f"kvm-pit.lost_tick_policy={pit.tickpolicy}")
    if _hpet(definition) is False and Ability.MACHINE_HPET not in abilities:
        yield "-no-hpet"


def _power(definition: DomainDef) -> Iterator[str]:
    pm = definition.pm or Pm()
    chip = "ICH9-LPC" if definition.is_q35 else "PIIX4_PM"
    for name, enabled in (("disable_s3", pm.suspend_to_mem), ("disable_s4", pm.suspend_to_disk)):
        if enabled is not None:
            yield from ("-global", f"{chip}.{name}={int(not enabled)}")


def _boot(definition: DomainDef) -> Iterator[str]:
    menu = definition.os.bootmenu
    parts = []
    if menu is not None and menu.enable is not None:
        parts.append(f"menu={on_off(menu.enable)}")
    if definition.os.bios is not None and definition.os.bios.reboot_timeout is not None:
        parts.append(f"reboot-timeout={definition.os.bios.reboot_timeout}")
    if menu is not None and menu.enable is not None and menu.timeout is not None:
        parts.append(f"splash-time={menu.timeout}")
    yield from ("-boot", ",".join([*parts, "strict=on"]))
    for flag, value in (
        ("-kernel", definition.os.kernel),
        ("-initrd", definition.os.initrd),
        ("-append", definition.os.cmdline),
    ):
        if value is not None:
            yield from (flag, value)
    table = definition.os.acpi.table if definition.os.acpi else None
    if table is not None and table.path is not None:
        yield from ("-acpitable", f"sig=SLIC,file={comma(table.path)}")
