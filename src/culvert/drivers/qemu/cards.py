"""The network cards of a running guest: announced to their networks when asked for, and what the guest makes of their
addresses.

Source: qapi/net.json of QEMU (``announce-self``, ``query-rx-filter``, ``NIC_RX_FILTER_CHANGED``); what a client may
say of it, include/libvirt/libvirt-domain.h of libvirt 12.9.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from culvert.domain.interface import Interface
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.run import Run
from culvert.ground import errors
from culvert.protocol.constants_migrate import ParamSpec
from culvert.protocol.constants_state import EventID
from culvert.protocol.typed_params import Value
from culvert.protocol.types import TypedParamType

# VIR_DOMAIN_ANNOUNCE_INTERFACE_*, and what each is where nobody says it, or 0.
_DEFAULTS = {"initial": 50, "max": 550, "rounds": 5, "step": 50}
ANNOUNCE_PARAMS = {name: ParamSpec(TypedParamType.UINT) for name in _DEFAULTS}

# QEMU tells of the next change when it has been asked about the last one, so a guest that changes its address all the
# time is heard so often.
LOOK_AFTER = 1.0  # seconds


async def announce(domain: Domain, device: str | None, params: Mapping[str, Value]) -> None:
    """Have QEMU tell the network of ``device`` (MAC address, or device on the host; ``None``: of all cards) where
    that card is. ``params`` in milliseconds, and ``rounds``. It has begun on return, and goes on beside.

    Raises ``errors.InvalidArgument`` for a card that the guest does not have, and ``errors.OperationInvalid`` for one
    that does not run.
    """
    run = domain.require_active()
    told: dict[str, object] = {name: params.get(name) or default for name, default in _DEFAULTS.items()}
    if device is not None:
        told["interfaces"] = [_find(run, device).alias]
    await domain.monitor.execute("announce-self", told)


def _find(run: Run, device: str) -> Interface:
    for card in run.definition.devices.interfaces:
        if (card.mac or "").lower() == device.lower() or (card.target is not None and card.target.dev == device):
            return card
    raise errors.InvalidArgument(f"invalid argument: '{device}' is not a known interface")


async def filter_changed(domain: Domain, run: Run, alias: str) -> None:
    """The guest has changed what the card ``alias`` is to receive: event NIC_MAC_CHANGE where that is its address."""
    card = next((one for one in run.definition.devices.interfaces if one.alias == alias), None)
    if card is None or card.mac is None:
        return
    await asyncio.sleep(LOOK_AFTER)
    if domain.run is not run:
        return
    with contextlib.suppress(errors.RequestError, LookupError):  # the guest may have ended, or the card left
        filters = await domain.monitor.execute("query-rx-filter", {"name": alias})
        now = str(filters[0]["main-mac"])
        before = run.addresses.get(alias, card.mac)
        run.addresses[alias] = now
        if now.lower() != before.lower() and domain.run is run:
            domain.tell(EventID.NIC_MAC_CHANGE, alias=alias, old_mac=before, new_mac=now)
