"""The cookies that a source sends."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from culvert.domain import format as xml_format
from culvert.ground import errors
from culvert.io import apart
from culvert.migration.options import cookie, grant, guest_cpu
from culvert.migration.options.cookie import Cookie
from culvert.migration.peers import cookies
from culvert.migration.progress import statistics
from culvert.migration.source import viewers
from culvert.migration.source.departure import Departure
from culvert.protocol import culvert
from culvert.protocol.constants_migrate import MigrateFlag


def plain(departure: Departure) -> bytes:
    """Begin's, prepare's, and that of a finish that is off: with what lets the destination know the grant."""
    return cookie.build(_made(departure))


def recalling(departure: Departure) -> bytes:
    """That of a finish that is off, whatever is left here of the guest: it names the attempt."""
    begun, settings = departure.begun, departure.settings
    return cookie.build(
        cookie.Cookie(
            *(begun.name, UUID(begun.uuid), settings.hostname, settings.host_uuid),
            attempt=departure.attempt,
            seal=grant.seal(begun.secret),
            wire=culvert.WIRE,
        )
    )


async def granting(departure: Departure) -> bytes:
    """Perform's: the grant, the figures, and the definition to keep there, where that was asked for.

    To be made only when the journal says PERFORM3_DONE or POSTCOPY: who has it may start the guest.
    """
    return await _last(departure, departure.begun.secret)


async def offline(departure: Departure) -> bytes:
    """The same for an offline migration, where nothing runs that could be granted."""
    return await _last(departure, "")


async def check_destination(departure: Departure, cookie_in: bytes) -> Cookie:
    """What the destination says; keep which host it is, and send there who looks at the guest.

    Raises ``InternalError``, as libvirt does, where it is this very one.
    """
    peer = await cookies.parse(cookie_in)
    if peer.host_uuid == departure.settings.host_uuid:
        raise errors.InternalError(f"Attempt to migrate guest to the same host {peer.host_uuid}")
    departure.destination_host = str(peer.host_uuid)
    await viewers.lead(departure.guest, departure.options, peer)
    return peer


async def _last(departure: Departure, granted: str) -> bytes:
    options, domain = departure.options, departure.domain
    made = replace(_made(departure), grant=granted, statistics=statistics.numbers(departure.record))
    if not options.has(MigrateFlag.PERSIST_DEST):
        return await cookies.build(made)
    xml = options.persistent_xml or await apart.run(
        xml_format.format, domain.persistent or domain.definition, migratable=True, secure=True
    )
    return await cookies.build(
        replace(made, persistent_xml=xml, insists=not options.has(MigrateFlag.OFFLINE)),
    )


def _made(departure: Departure) -> Cookie:
    domain, settings = departure.domain, departure.settings
    return Cookie(
        name=domain.name,
        uuid=domain.uuid,
        hostname=settings.hostname,
        host_uuid=settings.host_uuid,
        attempt=departure.attempt,
        seal=grant.seal(departure.begun.secret),
        wire=culvert.WIRE,
        preempt=departure.options.preempt,
        cpu_xml=guest_cpu.running(domain),
    )
