"""``<bandwidth>`` of a network, a port group and a network card: how much may pass, in KiB a second.

``inbound`` is what comes to the guest, or into the network. Source: libvirt docs/formatnetwork, "Quality of service".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from culvert.domain.binding import attribute, child
from culvert.domain.scalars import Integer
from culvert.ground import errors

_RATE = Integer(refusal=errors.ConfigUnsupported)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``average``, ``peak`` and a guaranteed ``floor`` in KiB/s; ``burst``, which may pass at the peak, in KiB."""

    average: Annotated[int | None, attribute("average", _RATE, silent=("0",))] = None
    peak: Annotated[int | None, attribute("peak", _RATE, silent=("0",))] = None
    floor: Annotated[int | None, attribute("floor", _RATE, silent=("0",))] = None
    burst: Annotated[int | None, attribute("burst", _RATE, silent=("0",))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """Both ways; a way that is missing is not held back."""

    inbound: Annotated[Rate | None, child("inbound", Rate)] = None
    outbound: Annotated[Rate | None, child("outbound", Rate)] = None


def check(bandwidth: Bandwidth | None, *, floor: bool) -> None:
    """Raise for what libvirt refuses; ``floor``: whether an inbound floor may be there."""
    if bandwidth is None:
        return
    for rate in (bandwidth.inbound, bandwidth.outbound):
        if rate is None:
            continue
        if rate.average is None and rate.floor is None:
            raise errors.XMLDetail("Missing mandatory average or floor attributes")
        if rate.average is None and (rate.peak or rate.burst):
            raise errors.ConfigUnsupported("'peak' and 'burst' require 'average' attribute")
    if bandwidth.inbound is not None and bandwidth.inbound.floor and not floor:
        raise errors.ConfigUnsupported("floor attribute is not supported for this config")
    if bandwidth.outbound is not None and bandwidth.outbound.floor:
        raise errors.ConfigUnsupported("'floor' attribute allowed only in <inbound> element")
