"""A guest's firmware: its image (``<loader>``), its variables (``<nvram>``), by what it is found (``<firmware>``).

Source: docs/formatdomain, "BIOS bootloader"; conf/domain_conf.c of libvirt 9.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain.binding import BLANK, attribute, child, children, content
from culvert.domain.scalars import PATH, YES_NO, one_of

PFLASH, ROM = "pflash", "rom"

# Later libvirts name the format of every image; nothing said is raw.
_FORMAT = one_of("raw", "qcow2")
_RAW = ("raw",)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareFeature:
    """What a firmware that is to be found has, or has not."""

    enabled: Annotated[bool, attribute("enabled", YES_NO)]
    name: Annotated[str, attribute("name", one_of("enrolled-keys", "secure-boot"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareWish:
    """``<firmware>``: by what one is chosen."""

    features: Annotated[tuple[FirmwareFeature, ...], children("feature", FirmwareFeature)] = ()

    def wants(self, name: str) -> bool | None:
        """Whether the feature must be there, or must not; ``None``: it does not matter."""
        return next((one.enabled for one in reversed(self.features) if one.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """The image of the firmware. ``secure``: only the firmware itself writes to its flash; ``stateless``: it keeps no
    variables."""

    readonly: Annotated[bool | None, attribute("readonly", YES_NO)] = None
    secure: Annotated[bool | None, attribute("secure", YES_NO)] = None
    type: Annotated[str | None, attribute("type", one_of(ROM, PFLASH))] = None
    stateless: Annotated[bool | None, attribute("stateless", YES_NO)] = None
    format: Annotated[str | None, attribute("format", _FORMAT, silent=_RAW)] = None
    path: Annotated[str | None, content(PATH)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NvramSource:
    """A file, said as a disk's is said."""

    file: Annotated[str, attribute("file", PATH)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nvram:
    """Where the firmware keeps its variables: a file of the guest's own, made from ``template`` if it is missing."""

    template: Annotated[str | None, attribute("template", PATH, silent=BLANK)] = None
    template_format: Annotated[str | None, attribute("templateFormat", _FORMAT, silent=_RAW)] = None
    type: Annotated[str | None, attribute("type", one_of("file"))] = None
    format: Annotated[str | None, attribute("format", _FORMAT, silent=_RAW)] = None
    source: Annotated[NvramSource | None, child("source", NvramSource)] = None
    text: Annotated[str | None, content(PATH)] = None

    @property
    def path(self) -> str | None:
        """The file; ``None``: it is the daemon's to say."""
        return self.source.file if self.source else self.text
