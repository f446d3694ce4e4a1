"""The cookies that a source sends."""

from __future__ import annotations

from culvert.domain import format as xml_format
from culvert.ground import errors
from culvert.io import apart
from culvert.migration.options import cookie, grant, guest_cpu
from culvert.migration.progress import statistics
from culvert.migration.source.departure import Departure
from culvert.protocol import culvert
from culvert.protocol.constants_migrate import MigrateFlag


def plain(departure: Departure) -> bytes:
    """Begin's, prepare's, and that of a finish that is off: with what lets the destination know the grant."""
    return _build(departure)


def granting(departure: Departure) -> bytes:
    """Perform's: the grant, the figures, and the definition to keep there, where that was asked for.

    To be made only when the journal says PERFORM3_DONE or POSTCOPY: who has it may start the guest.
    """
    return _last(departure, grant=departure.begun.secret)


async def offline(departure: Departure) -> bytes:
    """The same for an offline migration, where nothing runs that could be granted."""
    return await apart.run(_last, departure)


def check_destination(departure: Departure, cookie_in: bytes) -> None:
    """Refuse a destination that is this very host, and keep which one it is. Raises ``InternalError``, as libvirt
    does."""
    peer = cookie.parse(cookie_in)
    if peer.host_uuid == departure.settings.host_uuid:
        raise errors.InternalError(f"Attempt to migrate guest to the same host {peer.host_uuid}")
    departure.destination_host = str(peer.host_uuid)


def _last(departure: Departure, **more: object) -> bytes:
    options, domain = departure.options, departure.domain
    figures = statistics.numbers(departure.record)
    if not options.has(MigrateFlag.PERSIST_DEST):
        return _build(departure, statistics=figures, **more)
    xml = options.persistent_xml or xml_format.format(
        domain.persistent or domain.definition, migratable=True, secure=True
    )
    insists = not options.has(MigrateFlag.OFFLINE)
    return _build(departure, persistent_xml=xml, statistics=figures, insists=insists, **more)


def _build(departure: Departure, **more: object) -> bytes:
    domain, settings = departure.domain, departure.settings
    return cookie.build(
        cookie.Cookie(
            name=domain.name,
            uuid=domain.uuid,
            hostname=settings.hostname,
            host_uuid=settings.host_uuid,
            attempt=departure.attempt,
            seal=grant.seal(departure.begun.secret),
            wire=culvert.WIRE,
            cpu_xml=guest_cpu.running(domain),
            **more,  # type: ignore[arg-type]  # the remaining members of Cookie, by their names
        )
    )
