"""Title, description and metadata of a domain, read and changed in the running guest's definition or in the next."""

from __future__ import annotations

from dataclasses import replace

from culvert.domain import metadata
from culvert.domain.definition import DomainDef
from culvert.drivers.qemu import impact
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.io import apart
from culvert.protocol.constants_state import EventID, MetadataType


async def get(domain: Domain, kind: int, uri: str | None, flags: int) -> str:
    """The text or the markup. Raises ``errors.NoDomainMetadata`` when there is none."""
    definition = impact.chosen(domain, flags)
    match kind:
        case MetadataType.DESCRIPTION:
            found = definition.description
        case MetadataType.TITLE:
            found = definition.title
        case MetadataType.ELEMENT:
            found = await apart.run(metadata.element, definition, uri or "")
        case _:
            raise errors.InvalidArgument(f"invalid argument: unknown metadata type {kind}")
    if found is None:
        raise errors.NoDomainMetadata("metadata not found: Requested metadata element is not present")
    return found


async def change(
    domain: Domain, kind: int, flags: int, *, text: str | None, key: str | None, uri: str | None
) -> None:
    """Say something else, or with ``text`` ``None`` or empty nothing any more; event METADATA_CHANGE.

    Raises ``errors.InvalidArgument``, ``errors.XMLError``.
    """
    async with domain.changing("set the metadata of"):
        about = impact.impact(domain, flags)
        # Metadata may be long: what becomes of it is found out beside the loop.
        known = {
            one.metadata: await apart.run(_changed, one, kind, text, key, uri)
            for one in (domain.persistent, domain.active)
            if one is not None and kind == MetadataType.ELEMENT
        }

        def changed(definition: DomainDef) -> DomainDef:
            before = known.get(definition.metadata)
            if before is None:
                return _changed(definition, kind, text, key, uri)
            return replace(definition, metadata=before.metadata)

        await impact.keep(domain, changed, about)
        domain.tell(EventID.METADATA_CHANGE, type=kind, nsuri=uri)


def _changed(definition: DomainDef, kind: int, text: str | None, key: str | None, uri: str | None) -> DomainDef:
    match kind:
        case MetadataType.DESCRIPTION:
            return replace(definition, description=text or None)
        case MetadataType.TITLE:
            if text and "\n" in text:
                raise errors.InvalidArgument("metadata title can't contain newlines")
            return replace(definition, title=text or None)
        case MetadataType.ELEMENT:
            if not uri or (text is not None and not key):
                raise errors.InvalidArgument("invalid argument: a metadata element needs a key and a uri")
            return metadata.with_element(definition, uri, key, text)
        case _:
            raise errors.InvalidArgument(f"invalid argument: unknown metadata type {kind}")
