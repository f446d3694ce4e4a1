"""The guest's machine at the destination against the one here, before the first byte is sent.

The destination has started QEMU by the XML it was given, its own defaults filled in; QEMU's own check of the stream
notices neither another CPU nor a device too many. So the source asks what waits there and compares.
"""

from __future__ import annotations

from collections.abc import Callable

from culvert.domain import abi
from culvert.domain import parse as xml_parse
from culvert.domain.definition import DomainDef
from culvert.ground import errors
from culvert.migration import foreign, peer
from culvert.migration.departure import Departure
from culvert.migration.parameters import Options
from culvert.protocol import types


async def check(
    destination: peer.Peer, departure: Departure, options: Options, complete: Callable[[DomainDef], DomainDef]
) -> None:
    """Raise ``errors.ConfigUnsupported`` with the path of what the guest would see changed, or cannot be compared.

    ``options`` are those the destination has prepared by; ``complete`` fills in what a travelling XML leaves out.
    """
    domain = departure.domain
    ours = complete(xml_parse.parse(options.destination_xml or ""))
    there = await destination.domain_xml(types.Domain(domain.name, domain.uuid.bytes, -1))
    try:
        abi.check(ours, complete(foreign.parse(there)), name=options.destination_name)
    except errors.RequestError as err:
        raise errors.ConfigUnsupported(
            f"domain '{domain.name}' would not be the same machine at {departure.destination_uri}: {err.message}"
        ) from err
