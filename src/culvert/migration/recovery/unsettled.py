"""Migrations that a restart has found, and whose QEMU here does not say yet how it stands.

Until it does, or has ended, nobody knows where the guest runs: it is not started here, and what hangs is not told to
run on. That holds from the moment the daemon serves its first call, whatever the QEMU does meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from culvert.ground import errors
from culvert.hypervisor.contract import Guest
from culvert.migration.journal.history import Entry


@dataclass(frozen=True, slots=True)
class Unknown:
    """What occupies such a guest."""

    entry: Entry

    @property
    def description(self) -> str:
        """For error texts."""
        return f"migration {self.entry.begun.key.direction.value}, whose QEMU has not answered since the restart"


class Unsettled:
    """Those that are held; empty when all is known."""

    def __init__(self) -> None:
        self._held: dict[UUID, Entry] = {}

    def hold(self, entry: Entry, guest: Guest | None) -> None:
        """Nothing is known of ``entry`` yet; ``guest``: its domain, where there is one. Idempotent."""
        self._held[UUID(entry.begun.uuid)] = entry
        if guest is not None and guest.job is None:
            guest.job = Unknown(entry)

    def release(self, entry: Entry, guest: Guest | None) -> None:
        """It is taken up now. Idempotent."""
        self._held.pop(UUID(entry.begun.uuid), None)
        if guest is not None and isinstance(guest.job, Unknown):
            guest.job = None

    def check_free(self, uuid: UUID) -> None:
        """Raise ``OperationInvalid`` for the domain of one that is held."""
        if (entry := self._held.get(uuid)) is not None:
            raise errors.OperationInvalid(
                f"domain '{entry.begun.name}' cannot be started here, it may run elsewhere: "
                f"{Unknown(entry).description}"
            )
