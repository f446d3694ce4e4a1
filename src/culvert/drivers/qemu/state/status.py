"""What must be remembered of a running domain so that the next daemon finds it again: a JSON text per domain."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from culvert.drivers.qemu.process import ProcessIdentity

FORMAT = 1  # of the file; a reader refuses another one


@dataclass(frozen=True, slots=True)
class Status:
    """A domain with a process.

    ``xml`` is the active definition with all that the running guest has (aliases, ptys, ports), ``process`` is
    ``None`` while QEMU is about to be started, ``log_offset`` is where this run's output begins in the domain's log.
    ``state`` and ``reason`` are libvirt's numbers as last seen; what QEMU says counts for more. ``annotations``
    belong to whoever wrote them (a migration under way, for one). ``ending``: reason and detail (``None``: no event)
    of an end that is under way, for when nobody is there to see it come.
    """

    name: str
    uuid: str
    id: int
    xml: str
    state: int
    reason: int
    process: ProcessIdentity | None
    log_offset: int
    runtime: str
    fake_reboot: bool = False
    annotations: dict[str, str] = field(default_factory=dict)
    ending: tuple[int, int | None] | None = None

    def to_text(self) -> str:
        members = asdict(self)
        if self.ending is None:
            del members["ending"]  # 0.1.0 does not know it
        return json.dumps({"format": FORMAT, **members}, indent=1) + "\n"

    @classmethod
    def from_text(cls, text: str) -> Status:
        """Raises ``ValueError`` for a text that ``to_text`` of this version has not made."""
        raw: dict[str, Any] = json.loads(text)
        if not isinstance(raw, dict) or raw.pop("format", None) != FORMAT:
            raise ValueError(f"not a domain status of format {FORMAT}")
        try:
            status = cls(**raw)
            process = ProcessIdentity(**raw["process"]) if raw["process"] else None
            ending = _ending(*raw["ending"]) if raw.get("ending") else None
        except (TypeError, KeyError) as err:
            raise ValueError(f"domain status has wrong members: {err}") from err
        kinds = {"name": str, "uuid": str, "id": int, "xml": str, "state": int, "reason": int, "runtime": str}
        wrong = [name for name, kind in kinds.items() if not isinstance(raw[name], kind)]
        if wrong:
            raise ValueError(f"domain status has members of wrong type: {', '.join(wrong)}")
        return replace(status, process=process, ending=ending)


def _ending(reason: int, detail: int | None) -> tuple[int, int | None]:
    return int(reason), None if detail is None else int(detail)
