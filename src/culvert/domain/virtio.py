"""What every virtio device can be told: ``<driver>`` with its options, and its model.

Source: docs/formatdomain, "Virtio-related options" and "Virtio device models".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain.binding import attribute
from culvert.domain.scalars import ON_OFF, one_of

OLD, NEW = "virtio-transitional", "virtio-non-transitional"
MODELS = one_of("virtio", OLD, NEW)
"""One that speaks the new protocol alone, or the old one as well; the bus says which where nobody does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtioDriver:
    """``iommu``: its addresses are the guest's IOMMU's; ``ats``: it keeps them; ``packed``: its rings are of the new
    kind; ``page_per_vq``: each is rung at a page of its own."""

    iommu: Annotated[bool | None, attribute("iommu", ON_OFF)] = None
    ats: Annotated[bool | None, attribute("ats", ON_OFF)] = None
    packed: Annotated[bool | None, attribute("packed", ON_OFF)] = None
    page_per_vq: Annotated[bool | None, attribute("page_per_vq", ON_OFF)] = None
