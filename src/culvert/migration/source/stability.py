"""The guest's machine at the destination against the one here, before the first byte is sent.

The destination has started QEMU by the XML it was given, its own defaults filled in; QEMU's own check of the stream
notices neither another CPU nor a device too many. So the source asks what waits there and compares. Where a client
drives, the source has no connection to ask on: a destination that is one of ours says it in its cookie.
"""

from __future__ import annotations

from collections.abc import Callable

from culvert.domain import abi
from culvert.domain import parse as xml_parse
from culvert.domain.definition import DomainDef
from culvert.ground import errors
from culvert.io import apart
from culvert.migration.options.cookie import Cookie
from culvert.migration.options.parameters import Options
from culvert.migration.peers import peer
from culvert.migration.source.departure import Departure
from culvert.protocol import types


async def check(
    destination: peer.Peer, departure: Departure, options: Options, complete: Callable[[DomainDef], DomainDef]
) -> None:
    """Raise ``errors.ConfigUnsupported`` with the path of what the guest would see changed, or cannot be compared.

    ``options`` are those the destination has prepared by; ``complete`` fills in what a travelling XML leaves out.
    """
    domain = departure.domain
    there = await destination.domain_xml(types.Domain(domain.name, domain.uuid.bytes, -1))
    await apart.run(_compare, departure, options, there, complete)


async def check_told(departure: Departure, said: Cookie, complete: Callable[[DomainDef], DomainDef]) -> None:
    """``check`` by what the destination's cookie says; another daemon's says nothing. Raises as that does."""
    if said.machine_xml is not None:
        await apart.run(_compare, departure, departure.options, said.machine_xml, complete)


def _compare(departure: Departure, options: Options, there: str, complete: Callable[[DomainDef], DomainDef]) -> None:
    domain, where = departure.domain, departure.destination_uri or "the destination"
    try:
        ours = complete(xml_parse.parse(options.destination_xml or ""))
        abi.check(ours, complete(xml_parse.parse(there)), name=options.destination_name)
    except errors.RequestError as err:
        raise errors.ConfigUnsupported(
            f"domain '{domain.name}' would not be the same machine at {where}: {err.message}"
        ) from err
