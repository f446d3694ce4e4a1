"""Where the guest's standstill went: assembled from the moments at which something was seen; pure.

::

    source       STOP ─ MIGRATION_PASS ─ completed ─ finish is asked ────────────── answered
                 stop   last_round       device_state        finish …
    destination                                     (loaded ─ cont ─ RESUME ─ announced ─ …)
                                                              start    announce    ran

The source's clock measures the whole and what is its own; of the destination's only lengths of time are used. So
nothing depends on two clocks' agreement, and the parts always add up to the whole: from STOP until the guest runs
there and the network has been told. What passes between that and the answer is no standstill: a moment after
pre-copy, nearly all of a post-copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class There:
    """What the destination has measured, in seconds: QEMU took ``start`` over starting the CPUs and ``announce`` over
    telling the network; and the guest had ``ran`` for so long since, when finish was answered."""

    start: float = 0.0
    announce: float = 0.0
    ran: float = 0.0

    def figures(self) -> dict[str, int]:
        """For the statistics of FINISH3's cookie, in microseconds."""
        return {FIGURES[name]: round(_MICROSECONDS * getattr(self, name)) for name in self.__slots__}


FIGURES = {"start": "culvert_start_us", "announce": "culvert_announce_us", "ran": "culvert_ran_us"}
"""The names of ``There`` in a cookie."""


def there(figures: Mapping[str, int]) -> There | None:
    """What a destination's cookie says; ``None`` where it says nothing."""
    found = {name: figures[said] / _MICROSECONDS for name, said in FIGURES.items() if said in figures}
    return There(**found) if found else None


@dataclass(frozen=True, slots=True)
class Moments:
    """Of the source, in seconds of one monotonic clock; ``None`` for what was not seen.

    ``stopped``: QEMU's STOP. ``synced``: its MIGRATION_PASS after that, when it knows what is left to send.
    ``sent``: its MIGRATION with "completed". ``answered``: the destination's yes to finish.
    """

    stopped: float | None = None
    synced: float | None = None
    sent: float | None = None
    answered: float | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """Seconds each; their sum is ``total``.

    ``stop``: from the CPUs' stop to knowing what is left. ``last_round``: sending that. ``device_state``: saving,
    sending and loading the devices, up to QEMU's saying that all is there (in post-copy: that all is sent).
    ``finish``: writing down, asking and the answer's way. ``start``: the destination's QEMU starting the CPUs.
    ``announce``: its telling the network where the guest is now.
    """

    stop: float = 0.0
    last_round: float = 0.0
    device_state: float = 0.0
    finish: float = 0.0
    start: float = 0.0
    announce: float = 0.0

    @property
    def total(self) -> float:
        """The standstill."""
        return self.stop + self.last_round + self.device_state + self.finish + self.start + self.announce

    def milliseconds(self) -> dict[str, int]:
        """By name, rounded."""
        return {name: round(1000 * getattr(self, name)) for name in self.__slots__}


_NOTHING_SAID = There()


def parts(moments: Moments, *, last_bytes: int, rate: float, there: There = _NOTHING_SAID) -> Parts | None:
    """The parts, or ``None`` when the guest did not stop or no answer came.

    QEMU sends the last round and the devices in one go: ``last_bytes`` (``downtime-bytes``, the round alone) at
    ``rate`` bytes per second tell how much of that was the round.
    """
    if moments.stopped is None or moments.answered is None:
        return None
    stopped = moments.stopped
    runs = max(stopped, moments.answered - max(0.0, there.ran))
    # What was not seen, or seen out of order, counts as having taken no time: the whole stays right.
    sent = min(runs, max(stopped, moments.sent if moments.sent is not None else runs))
    synced = min(sent, max(stopped, moments.synced if moments.synced is not None else stopped))
    last_round = min(sent - synced, last_bytes / rate if rate > 0 else 0.0)
    announce = min(max(0.0, there.announce), runs - sent)
    start = min(max(0.0, there.start), runs - sent - announce)
    return Parts(
        stop=synced - stopped,
        last_round=last_round,
        device_state=sent - synced - last_round,
        finish=runs - sent - start - announce,
        start=start,
        announce=announce,
    )
