"""Devices of the guest that are none of the usual kinds: ``<vsock>``, ``<iommu>``, ``<shmem>``.

Source: docs/formatdomain, "Vsock", "IOMMU devices", "Shared memory device".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain import address, virtio
from culvert.domain.binding import attribute, child, content, lone, variant
from culvert.domain.scalars import ANY_TEXT, ON_OFF, PATH, TOKEN, UINT, ULONG, YES_NO, Integer, Pattern, one_of
from culvert.ground import errors, units

SHMEM = 4 * units.MiB  # bytes of one for which nobody says it


@dataclass(frozen=True, slots=True, kw_only=True)
class Cid:
    """The guest's number among those of this host; ``auto``: one that is free."""

    auto: Annotated[bool | None, attribute("auto", YES_NO)] = None
    address: Annotated[int | None, attribute("address", Integer(low=3, high=2**32 - 1), silent=("0",))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vsock:
    """Sockets between the guest and this host."""

    model: Annotated[str | None, attribute("model", virtio.MODELS)] = None
    cid: Annotated[Cid | None, child("cid", Cid)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.PciAddress | None, variant("address", "type", address.PCI)] = None
    driver: Annotated[virtio.VirtioDriver | None, child("driver", virtio.VirtioDriver, hollow="*")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IommuDriver:
    """``aw_bits``: how wide an address is."""

    intremap: Annotated[bool | None, attribute("intremap", ON_OFF)] = None
    caching_mode: Annotated[bool | None, attribute("caching_mode", ON_OFF)] = None
    eim: Annotated[bool | None, attribute("eim", ON_OFF)] = None
    iotlb: Annotated[bool | None, attribute("iotlb", ON_OFF)] = None
    aw_bits: Annotated[int | None, attribute("aw_bits", UINT, silent=("0",))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Iommu:
    """What the guest's devices see of its memory is the guest's to say."""

    model: Annotated[str, attribute("model", one_of("intel", "virtio"))]
    driver: Annotated[IommuDriver | None, child("driver", IommuDriver, hollow="*")] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.PciAddress | None, variant("address", "type", address.PCI)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShmemSize:
    """In bytes where no unit is said."""

    unit: Annotated[str | None, attribute("unit", TOKEN, silent=("",))] = None
    size: Annotated[int, content(ULONG)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShmemServer:
    """The socket of the daemon that has the memory."""

    path: Annotated[str | None, attribute("path", PATH, silent=("",))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShmemMsi:
    """Interrupts."""

    vectors: Annotated[int | None, attribute("vectors", UINT, silent=("0",))] = None
    ioeventfd: Annotated[bool | None, attribute("ioeventfd", ON_OFF)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shmem:
    """Memory that guests share. ``role``: whose it is; a guest that is a mere ``peer`` does not move."""

    name: Annotated[str, attribute("name", Pattern(r"[^/\s,]+", "name without slash"))]
    role: Annotated[str | None, attribute("role", one_of("master", "peer"))] = None
    model: Annotated[str | None, lone("model", "type", one_of("ivshmem-plain", "ivshmem-doorbell"))] = None
    size: Annotated[ShmemSize | None, child("size", ShmemSize)] = None
    server: Annotated[ShmemServer | None, child("server", ShmemServer)] = None
    msi: Annotated[ShmemMsi | None, child("msi", ShmemMsi)] = None
    alias: Annotated[str | None, lone("alias", "name", ANY_TEXT)] = None
    address: Annotated[address.PciAddress | None, variant("address", "type", address.PCI)] = None

    @property
    def bytes(self) -> int:
        return SHMEM if self.size is None else units.to_bytes(self.size.size, self.size.unit or "b")


def complete_vsock(one: Vsock) -> Vsock:
    """Raises ``errors.ConfigUnsupported`` for a number that is neither said nor to be found."""
    cid = one.cid or Cid()
    auto = cid.auto if cid.auto is not None else cid.address is None
    if not auto and cid.address is None:
        raise errors.ConfigUnsupported("unsupported configuration: guest CIDs must be >= 3")
    return replace(one, model=one.model or "virtio", cid=replace(cid, auto=auto))


def complete_shmem(one: Shmem) -> Shmem:
    """Raises ``errors.ConfigUnsupported`` for what does not go together (qemuDomainShmemDefPostParse)."""
    model = one.model or ("ivshmem-doorbell" if one.server or one.msi else "ivshmem-plain")
    if model == "ivshmem-plain":
        if one.server or one.msi:
            raise errors.ConfigUnsupported(
                "unsupported configuration: /domain/devices/shmem: ivshmem-plain has neither server nor msi"
            )
        mib, rest = divmod(one.bytes, units.MiB)
        if rest or mib & (mib - 1):
            raise errors.ConfigUnsupported("unsupported configuration: shmem size must be a power of 2 of MiB")
        return replace(one, model=model, size=ShmemSize(unit="M", size=mib))
    if one.role or one.size:
        raise errors.ConfigUnsupported(
            "unsupported configuration: /domain/devices/shmem: ivshmem-doorbell has neither role nor size"
        )
    msi = one.msi or ShmemMsi()
    return replace(
        one,
        model=model,
        server=one.server or ShmemServer(),
        msi=replace(msi, ioeventfd=msi.ioeventfd if msi.ioeventfd is not None else True),
    )
