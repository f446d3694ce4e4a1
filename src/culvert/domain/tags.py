"""Words that people put on a guest: ``<tags xmlns="urn:culvert:tags">tenant=blue web</tags>`` in its metadata.

``virsh metadata GUEST urn:culvert:tags --key culvert --set '<tags>tenant=blue web</tags>'`` puts them there.
"""

from __future__ import annotations

from culvert.domain import metadata, xml
from culvert.domain.definition import DomainDef
from culvert.ground import errors

NAMESPACE = "urn:culvert:tags"


def of(definition: DomainDef) -> frozenset[str]:
    """The words, which have white space between them; none where there is no such element."""
    markup = metadata.element(definition, NAMESPACE) if definition.metadata else None
    if markup is None:
        return frozenset()
    try:
        return frozenset("".join(map(str, xml.read(markup).itertext())).split())
    except errors.XMLError:  # written by a hand that knew no XML, and kept as it was
        return frozenset()
