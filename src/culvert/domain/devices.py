"""``<devices>``: everything the guest has, in the order in which libvirt lists it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain.audio import Audio
from culvert.domain.binding import BLANK, child, children, leaf
from culvert.domain.bus_device import Iommu, Shmem, Vsock
from culvert.domain.chardev import ChannelDevice, ConsoleDevice, Parallel, Redirdev, Redirfilter, Serial, Smartcard
from culvert.domain.controller import Controller, Hub
from culvert.domain.disk import Disk
from culvert.domain.display import Graphics, Input, Sound, Video
from culvert.domain.filesystem import Filesystem
from culvert.domain.interface import Interface
from culvert.domain.memory_device import MemoryModule
from culvert.domain.peripheral import Memballoon, Panic, Rng, Watchdog
from culvert.domain.scalars import PATH
from culvert.domain.tpm import Tpm


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """The devices by kind; within a kind their order counts."""

    emulator: Annotated[str | None, leaf("emulator", PATH, silent=BLANK)] = None
    disks: Annotated[tuple[Disk, ...], children("disk", Disk)] = ()
    controllers: Annotated[tuple[Controller, ...], children("controller", Controller)] = ()
    filesystems: Annotated[tuple[Filesystem, ...], children("filesystem", Filesystem)] = ()
    interfaces: Annotated[tuple[Interface, ...], children("interface", Interface)] = ()
    smartcards: Annotated[tuple[Smartcard, ...], children("smartcard", Smartcard)] = ()
    serials: Annotated[tuple[Serial, ...], children("serial", Serial)] = ()
    parallels: Annotated[tuple[Parallel, ...], children("parallel", Parallel)] = ()
    consoles: Annotated[tuple[ConsoleDevice, ...], children("console", ConsoleDevice)] = ()
    channels: Annotated[tuple[ChannelDevice, ...], children("channel", ChannelDevice)] = ()
    inputs: Annotated[tuple[Input, ...], children("input", Input)] = ()
    tpms: Annotated[tuple[Tpm, ...], children("tpm", Tpm)] = ()
    graphics: Annotated[tuple[Graphics, ...], children("graphics", Graphics)] = ()
    sounds: Annotated[tuple[Sound, ...], children("sound", Sound)] = ()
    audios: Annotated[tuple[Audio, ...], children("audio", Audio)] = ()
    videos: Annotated[tuple[Video, ...], children("video", Video)] = ()
    redirdevs: Annotated[tuple[Redirdev, ...], children("redirdev", Redirdev)] = ()
    redirfilter: Annotated[Redirfilter | None, child("redirfilter", Redirfilter)] = None
    hubs: Annotated[tuple[Hub, ...], children("hub", Hub)] = ()
    watchdogs: Annotated[tuple[Watchdog, ...], children("watchdog", Watchdog)] = ()
    memballoon: Annotated[Memballoon | None, child("memballoon", Memballoon)] = None
    rngs: Annotated[tuple[Rng, ...], children("rng", Rng)] = ()
    panics: Annotated[tuple[Panic, ...], children("panic", Panic)] = ()
    shmems: Annotated[tuple[Shmem, ...], children("shmem", Shmem)] = ()
    memories: Annotated[tuple[MemoryModule, ...], children("memory", MemoryModule)] = ()
    iommu: Annotated[Iommu | None, child("iommu", Iommu)] = None
    vsock: Annotated[Vsock | None, child("vsock", Vsock)] = None
