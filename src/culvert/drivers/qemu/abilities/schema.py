"""QEMU's own description of its monitor's commands (``query-qmp-schema``), and questions to it.

A question is a path in the words of libvirt's virQEMUQAPISchemaPathGet, so that one of its queries can be looked up
there: ``migrate-incoming/arg-type/exit-on-error``. The first part names a command or an event, ``arg-type`` and
``ret-type`` go to what it takes and gives, then each part is

- ``name``: a member of an object, or of one of its variants or alternatives;
- ``+name``: the variant of a union;
- ``^name``: a value of an enumeration;
- ``$name``: a feature.

Arrays are passed through to what they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Entity = Mapping[str, Any]
"""One SchemaInfo of qapi/introspect.json."""


class Schema:
    """What one QEMU knows; ``entities``: the answer to ``query-qmp-schema``.

    What is not as qapi/introspect.json has it counts as not there: a schema that lies makes culvert do without.
    """

    def __init__(self, entities: Iterable[Entity]) -> None:
        self._entities = {entity["name"]: entity for entity in entities if isinstance(entity.get("name"), str)}

    def has(self, path: str) -> bool:
        """Whether all of ``path`` is there."""
        first, *rest = path.split("/")
        entity = self._entities.get(first)
        if entity is None or entity.get("meta-type") not in ("command", "event"):
            return False
        here = [entity]
        for position, part in enumerate(rest, start=1):
            if part[:1] in ("^", "$"):
                return position == len(rest) and any(part[1:] in _names(one, part[0]) for one in here)
            # The name of a variant is looked for where it was written alone.
            near = here if part.startswith("+") else self._with_inner(here)
            here = self._entities_of(type_ for one in near for type_ in _types(one, part))
        return bool(here)

    def _with_inner(self, entities: Iterable[Entity]) -> list[Entity]:
        """The same, and those whose members are written as if they were these ones' own."""
        found: dict[str, Entity] = {}
        waiting = list(entities)
        while waiting:
            entity = waiting.pop()
            if entity["name"] not in found:
                found[entity["name"]] = entity
                waiting += self._entities_of(_inner(entity))
        return list(found.values())

    def _entities_of(self, types: Iterable[Any]) -> list[Entity]:
        """What these names stand for; of an array, what it holds."""
        found = []
        for name in types:
            entity = self._entities.get(name) if isinstance(name, str) else None
            if entity is not None and entity.get("meta-type") == "array":
                entity = self._entities.get(str(entity.get("element-type")))
            if entity is not None:
                found.append(entity)
        return found


def _types(entity: Entity, part: str) -> list[Any]:
    """The types that ``part`` names in this very entity."""
    if part in ("arg-type", "ret-type"):
        return [entity.get(part)]
    if part.startswith("+"):
        return [one.get("type") for one in entity.get("variants", ()) if one.get("case") == part[1:]]
    return [one.get("type") for one in entity.get("members", ()) if one.get("name") == part]


def _inner(entity: Entity) -> list[Any]:
    """The types whose members are written as if they were this one's."""
    alternatives = entity.get("members", ()) if entity.get("meta-type") == "alternate" else ()
    return [one.get("type") for one in (*entity.get("variants", ()), *alternatives)]


def _names(entity: Entity, sign: str) -> list[Any]:
    if sign == "$":
        return list(entity.get("features", ()))
    # Before 6.2 an enumeration had its values as bare words.
    return [one.get("name") for one in entity.get("members", ())] or list(entity.get("values", ()))
