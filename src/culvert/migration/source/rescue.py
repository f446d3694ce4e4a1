"""A post-copy that has lost its way: what the destination's word means then, and another way, when there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from culvert.channels.data_path import DataPath
from culvert.ground import errors
from culvert.migration.handover.machine_source import Event, State
from culvert.migration.source.driving import Rescuing


def meaning(word: Event, state: State, *, has_ended: bool) -> tuple[Event, str]:
    """What the destination's ``word`` means to a source in ``state``, and what is told of that, where it is more than
    the word says. ``has_ended``: the guest's QEMU here."""
    if has_ended and word is Event.WORD_LOST:
        return word, "its QEMU has ended on both hosts: it is lost"
    if has_ended and word is Event.WORD_POSTCOPY and state in (State.POSTCOPY_FAILED, State.UNDECIDED):
        return Event.WORD_LOST, "its QEMU has ended here, and with it what the guest there still needs: it is lost"
    return word, ""


@dataclass(frozen=True, slots=True)
class Rescued:
    """One try: the machine's next event, the new way where there is one, or what stood in its way."""

    event: Event
    data_path: DataPath | None = None
    obstacle: str = ""


@dataclass(slots=True)
class Rescue:
    """Of one migration. ``path_lost``: nothing carries the guest's pages any more."""

    path_lost: bool
    by: Callable[[], Rescuing] | None = None
    """Who takes it up, whoever drove it before."""

    async def attempt(self, driving: Rescuing, *, again: bool) -> Rescued:
        """The destination is there again, and its half of the guest waits for the other one.

        ``again``: this has been tried in the state that it is in. Only where the way is lost is another one opened;
        else only the answer to the grant is, which is granted once more, but not over and over.
        """
        if not self.path_lost:
            return Rescued(Event.WORD_POSTCOPY if not again else Event.RECOVER)
        try:
            return Rescued(Event.RECOVER, await driving.reopen())
        except errors.RequestError as err:
            return Rescued(Event.WORD_POSTCOPY, obstacle=f"its post-copy cannot be taken up again: {err}")
