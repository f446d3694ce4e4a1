"""``<volume>``: what somebody wants of a disk image in a storage pool. Source: libvirt docs/formatstorage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from culvert.domain import binding, xml
from culvert.domain.binding import BLANK, attribute, child, content, flag, leaf, lone
from culvert.domain.disk_source import Encryption
from culvert.domain.pool import Permissions
from culvert.domain.rule import Wrong, check_all
from culvert.domain.scalars import ANY_TEXT, TEXT, ULONG, WordScalar, one_of
from culvert.ground import errors, units

# What can be made: libvirt's names, QEMU's are the same but for two (disk_source.FORMATS).
FORMATS = ("raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vpc", "vhd", "ploop")
KNOWN = (
    *("none", "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop", "cow", "qcow"),
    *("qcow2", "qed", "vmdk"),
)
BACKED = frozenset({"qcow2", "qcow", "qed", "vmdk"})


@dataclass(frozen=True, slots=True)
class FormatScalar(WordScalar):
    """The format of an image; a word that is none is refused as libvirt refuses it."""

    def read(self, text: str, where: str) -> str:
        if text not in KNOWN:
            raise errors.ConfigUnsupported(f"unsupported configuration: unknown volume format type {text}")
        return WordScalar.read(self, text, where)


FORMAT = FormatScalar(FORMATS)
BACKING_FORMAT = FormatScalar((*FORMATS, "iso"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """An amount; of bytes where no unit is named."""

    unit: Annotated[str | None, attribute("unit", ANY_TEXT, silent=BLANK)] = None
    value: Annotated[int, content(ULONG)] = 0

    @property
    def bytes(self) -> int:
        """Raises ``errors.InvalidArgument`` for a unit that is none, ``errors.Overflow`` for too much."""
        return units.to_capacity(self.value, self.unit or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamps:
    """When the file was read, written and changed: shown, and never asked for."""

    atime: Annotated[str | None, leaf("atime", ANY_TEXT)] = None
    mtime: Annotated[str | None, leaf("mtime", ANY_TEXT)] = None
    ctime: Annotated[str | None, leaf("ctime", ANY_TEXT)] = None
    btime: Annotated[str | None, leaf("btime", ANY_TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFeatures:
    """What a qcow2 image of the newer kind may have."""

    lazy_refcounts: Annotated[bool, flag("lazy_refcounts")] = False
    extended_l2: Annotated[bool, flag("extended_l2")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeTarget:
    """The image. Its path is made of the pool's and its name, whatever is said here."""

    path: Annotated[str | None, leaf("path", ANY_TEXT)] = None
    format: Annotated[str | None, lone("format", "type", FORMAT)] = None
    permissions: Annotated[Permissions | None, child("permissions", Permissions)] = None
    timestamps: Annotated[Timestamps | None, child("timestamps", Timestamps)] = None
    encryption: Annotated[Encryption | None, child("encryption", Encryption)] = None
    compat: Annotated[str | None, leaf("compat", one_of("0.10", "1.1"))] = None
    nocow: Annotated[bool, flag("nocow")] = False
    cluster_size: Annotated[Size | None, child("clusterSize", Size)] = None
    features: Annotated[ImageFeatures | None, child("features", ImageFeatures)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeBacking:
    """The image that it stands on."""

    path: Annotated[str | None, leaf("path", ANY_TEXT, silent=BLANK)] = None
    format: Annotated[str | None, lone("format", "type", BACKING_FORMAT)] = None
    permissions: Annotated[Permissions | None, child("permissions", Permissions)] = None
    timestamps: Annotated[Timestamps | None, child("timestamps", Timestamps)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDef:
    """The definition of a volume."""

    type: Annotated[str | None, attribute("type", one_of("file"))] = None
    name: Annotated[str, leaf("name", TEXT)]
    key: Annotated[str | None, leaf("key", ANY_TEXT)] = None
    source: Annotated[bool, flag("source")] = False
    capacity: Annotated[Size | None, child("capacity", Size)] = None
    allocation: Annotated[Size | None, child("allocation", Size)] = None
    physical: Annotated[Size | None, child("physical", Size)] = None
    target: Annotated[VolumeTarget, child("target", VolumeTarget)] = VolumeTarget()
    backing: Annotated[VolumeBacking | None, child("backingStore", VolumeBacking)] = None

    @property
    def format(self) -> str:
        return self.target.format or "raw"

    @property
    def base(self) -> VolumeBacking | None:
        """The image that it stands on, where one is named."""
        return self.backing if self.backing is not None and self.backing.path else None

    @property
    def mode(self) -> int:
        """Of the file: 0600 where nothing is said (VIR_STORAGE_DEFAULT_VOL_PERM_MODE)."""
        told = self.target.permissions.mode if self.target.permissions else None
        return int(told, 8) if told is not None else 0o600


def parse(text: str, *, like: int | None = None) -> VolumeDef:
    """Read a volume's description, with what it leaves out. ``like``: the capacity of the volume that it is made of.

    Raises ``errors.XMLError``, ``errors.ConfigUnsupported``, and as ``Size.bytes``.
    """
    root = xml.read(text)
    if root.tag != "volume":
        raise errors.XMLError(f"XML error: unexpected root element <{root.tag}>, expecting <volume>")
    volume = binding.read(VolumeDef, root, "/volume")
    if volume.capacity is None and like is None and volume.base is None:
        raise errors.XMLError("XML error: missing capacity element")
    capacity = volume.capacity.bytes if volume.capacity else 0
    if like is not None:
        capacity = max(capacity, like)
    allocation = volume.allocation.bytes if volume.allocation else capacity
    return replace(volume, capacity=Size(value=capacity), allocation=Size(value=allocation))


def check(volume: VolumeDef, *, preallocated: bool) -> None:
    """Raise for what no image can be, in libvirt's words (storage/storage_util.c)."""
    if "/" in volume.name:
        raise errors.OperationInvalid(f"volume name '{volume.name}' cannot contain '/'")
    if volume.name in (".", "..") or "\0" in volume.name or "\n" in volume.name:
        raise errors.InvalidArgument(f"'{volume.name}' is no name for a file")
    if volume.name.startswith("."):
        raise errors.InvalidArgument(f"volume name '{volume.name}' is hidden: files of such a name are not listed")
    check_all(RULES, (Wanted(volume, preallocated),))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A volume, and whether its tables are to be filled when it is made."""

    volume: VolumeDef
    preallocated: bool

    @property
    def features(self) -> ImageFeatures:
        return self.volume.target.features or ImageFeatures()

    @property
    def secrets(self) -> int:
        """How many; one where nothing is encrypted."""
        encryption = self.volume.target.encryption
        return len(encryption.secrets) if encryption else 1

    @property
    def is_old(self) -> bool:
        return self.volume.target.compat == "0.10"


RULES: tuple[Wrong, ...] = (
    Wrong(
        lambda one: one.preallocated and one.volume.format == "raw",
        "metadata preallocation is not supported for raw volumes",
    ),
    Wrong(
        lambda one: one.preallocated and one.volume.format != "qcow2",
        "metadata preallocation only available with qcow2",
    ),
    Wrong(
        lambda one: one.volume.target.compat and one.volume.format != "qcow2",
        "compatibility option only available with qcow2",
    ),
    Wrong(
        lambda one: one.volume.target.features and one.volume.format != "qcow2",
        "format features only available with qcow2",
    ),
    Wrong(
        lambda one: one.volume.base and one.volume.format not in BACKED,
        "backing storage not supported for raw volumes",
        errors.NoSupport,
    ),
    Wrong(lambda one: one.volume.base and one.preallocated, "metadata preallocation conflicts with backing store"),
    Wrong(
        lambda one: one.is_old and one.features.lazy_refcounts,
        "lazy_refcounts not supported with compat level 0.10",
    ),
    Wrong(
        lambda one: one.is_old and one.features.extended_l2,
        "'extended_l2' not supported with compat level 0.10",
    ),
    Wrong(
        lambda one: one.volume.target.encryption and one.volume.format not in ("raw", "qcow2"),
        "volume encryption unsupported with format {0.volume.format}",
    ),
    Wrong(lambda one: one.secrets > 1, "too many secrets for luks encryption", errors.XMLError),
    Wrong(lambda one: one.secrets < 1, "no secret provided for luks encryption", errors.XMLError),
)


def image_options(volume: VolumeDef, *, preallocated: bool, secret: str | None = None) -> list[str]:
    """The options of ``qemu-img``, as libvirt gives them (storageBackendCreateQemuImgOpts)."""
    target = volume.target
    capacity = volume.capacity.bytes if volume.capacity else 0
    allocation = volume.allocation.bytes if volume.allocation else 0
    options = []
    if volume.base is not None:
        options.append(f"backing_fmt={_image_format(volume.base.format or 'raw')}")
    if secret is not None:
        prefix = "encrypt." if volume.format == "qcow2" else ""
        options += [f"{prefix}format=luks"] if prefix else []
        options.append(f"{prefix}key-secret={secret}")
    if preallocated:
        # In KiB, both, as libvirt counts here.
        sparse = -(-capacity // units.KiB) > -(-allocation // units.KiB)
        options.append(f"preallocation={'metadata' if sparse else 'falloc'}")
    if target.nocow:
        options.append("nocow=on")
    if volume.format == "qcow2":
        compat = target.compat or ("1.1" if target.features else "0.10")
        options.append(f"compat={compat}")
    if target.cluster_size is not None and target.cluster_size.value:
        options.append(f"cluster_size={target.cluster_size.bytes}")
    features = target.features or ImageFeatures()
    if features.lazy_refcounts:
        options.append("lazy_refcounts")
    if features.extended_l2:
        options.append("extended_l2=on")
    return options


def image_format(volume: VolumeDef) -> str:
    """What ``qemu-img`` calls the format."""
    return "luks" if volume.target.encryption and volume.format == "raw" else _image_format(volume.format)


def _image_format(name: str) -> str:
    return {"vhd": "vhdx", "ploop": "parallels", "iso": "raw"}.get(name, name)
