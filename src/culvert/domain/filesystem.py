"""``<filesystem>``: a folder of the host that the guest can mount.

Source: docs/formatdomain, "Filesystems"; conf/domain_conf.c for the order of output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain import address, virtio
from culvert.domain.binding import BLANK, DEFAULT, attribute, child, flag, lone, variant
from culvert.domain.scalars import ANY_TEXT, ON_OFF, PATH, TEXT, UINT, Integer, Pattern, one_of

MODE = Pattern(r"[0-7]{1,4}", "octal mode (0644)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemDriver:
    """``path``: QEMU's own server; ``virtiofs``: a daemon; ``queue``: its length."""

    type: Annotated[str | None, attribute("type", one_of("path", "handle", "virtiofs"), silent=DEFAULT)] = None
    wrpolicy: Annotated[str | None, attribute("wrpolicy", one_of("immediate"), silent=DEFAULT)] = None
    queue: Annotated[int | None, attribute("queue", UINT, silent=("0",))] = None
    iommu: Annotated[bool | None, attribute("iommu", ON_OFF)] = None
    ats: Annotated[bool | None, attribute("ats", ON_OFF)] = None
    packed: Annotated[bool | None, attribute("packed", ON_OFF)] = None
    page_per_vq: Annotated[bool | None, attribute("page_per_vq", ON_OFF)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemLock:
    """Which locks the guest's programs can take."""

    posix: Annotated[bool | None, attribute("posix", ON_OFF)] = None
    flock: Annotated[bool | None, attribute("flock", ON_OFF)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemBinary:
    """The daemon."""

    path: Annotated[str | None, attribute("path", PATH, silent=BLANK)] = None
    xattr: Annotated[bool | None, attribute("xattr", ON_OFF)] = None
    cache: Annotated[str | None, lone("cache", "mode", one_of("none", "always"))] = None
    sandbox: Annotated[str | None, lone("sandbox", "mode", one_of("namespace", "chroot"))] = None
    lock: Annotated[FilesystemLock | None, child("lock", FilesystemLock, hollow="*")] = None
    threads: Annotated[int | None, lone("thread_pool", "size", UINT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemSource:
    """The folder, or the socket of a daemon that is there."""

    dir: Annotated[str | None, attribute("dir", PATH)] = None
    socket: Annotated[str | None, attribute("socket", PATH)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """One of them; ``target``: the name by which the guest mounts it."""

    type: Annotated[str, attribute("type", one_of("mount"))] = "mount"
    accessmode: Annotated[str | None, attribute("accessmode", one_of("passthrough", "mapped", "squash"))] = None
    model: Annotated[str | None, attribute("model", virtio.MODELS)] = None
    multidevs: Annotated[str | None, attribute("multidevs", one_of("remap", "forbid", "warn"), silent=DEFAULT)] = None
    fmode: Annotated[str | None, attribute("fmode", MODE)] = None
    dmode: Annotated[str | None, attribute("dmode", MODE)] = None
    driver: Annotated[FilesystemDriver | None, child("driver", FilesystemDriver, hollow="*")] = None
    binary: Annotated[FilesystemBinary | None, child("binary", FilesystemBinary, hollow="*")] = None
    source: Annotated[FilesystemSource, child("source", FilesystemSource)]
    target: Annotated[str, lone("target", "dir", TEXT, needed=True)]
    readonly: Annotated[bool, flag("readonly")] = False
    boot: Annotated[int | None, lone("boot", "order", Integer(low=1, high=2**31 - 1))] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.PciAddress | None, variant("address", "type", address.PCI)] = None

    @property
    def kind(self) -> str:
        """Who serves it."""
        return (self.driver.type if self.driver else None) or "path"


def complete(one: Filesystem) -> Filesystem:
    """With the way in which files belong to whom they belong, four digits in each mode."""
    mode = one.accessmode or (None if one.source.socket else "passthrough")
    fmode, dmode = (told and told.zfill(4) for told in (one.fmode, one.dmode))
    return replace(one, accessmode=mode, fmode=fmode, dmode=dmode)
