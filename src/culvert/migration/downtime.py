"""Where the guest's standstill went: assembled from the moments at which something was seen; pure.

::

    source       STOP ─ MIGRATION_PASS ─ completed ─ finish is asked ────────────── answered
                 stop   last_round       device_state        finish …                       = downtime
    destination                                     (loaded ─ cont ─ RESUME ─ announce)
                                                              start

The source's clock measures the whole and what is its own; of the destination's only lengths of time are used. So
nothing depends on two clocks' agreement, and the parts always add up to the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

START_FIGURE = "culvert_start_us"
"""In the statistics of FINISH3's cookie: how long the destination's QEMU took over "cont", in microseconds."""


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
    sending and loading the devices, up to QEMU's saying that all is there. ``finish``: writing down, asking and the
    answer's way. ``start``: the destination's QEMU starting the CPUs.
    """

    stop: float = 0.0
    last_round: float = 0.0
    device_state: float = 0.0
    finish: float = 0.0
    start: float = 0.0

    @property
    def total(self) -> float:
        """The standstill."""
        return self.stop + self.last_round + self.device_state + self.finish + self.start

    def milliseconds(self) -> dict[str, int]:
        """By name, rounded."""
        return {name: round(1000 * getattr(self, name)) for name in self.__slots__}


def parts(moments: Moments, *, last_bytes: int, rate: float, start: float = 0.0) -> Parts | None:
    """The parts, or ``None`` when the guest did not stop or no answer came.

    QEMU sends the last round and the devices in one go: ``last_bytes`` (``downtime-bytes``, the round alone) at
    ``rate`` bytes per second tell how much of that was the round. ``start`` in seconds, as the destination has
    measured it.
    """
    if moments.stopped is None or moments.answered is None:
        return None
    stopped, answered = moments.stopped, max(moments.stopped, moments.answered)
    # What was not seen, or seen out of order, counts as having taken no time: the whole stays right.
    sent = min(answered, max(stopped, moments.sent if moments.sent is not None else answered))
    synced = min(sent, max(stopped, moments.synced if moments.synced is not None else stopped))
    last_round = min(sent - synced, last_bytes / rate if rate > 0 else 0.0)
    begun = min(max(0.0, start), answered - sent)
    return Parts(
        stop=synced - stopped,
        last_round=last_round,
        device_state=sent - synced - last_round,
        finish=answered - sent - begun,
        start=begun,
    )


def started(figures: Mapping[str, int]) -> float:
    """``parts``' ``start`` in what the destination's cookie says; 0 where it says nothing."""
    return figures.get(START_FIGURE, 0) / 1_000_000
