"""What ``--auto`` does and why, as a table; pure.

=========================================== ======================= ==============================================
it is so                                    then                    because
=========================================== ======================= ==============================================
post-copy has begun                         nothing                 it ends by itself
too few rounds to know                      nothing                 a guess would cost the guest something
the guest converges                         nothing                 the time left is known
it does not, the link has just broken       slow the guest down     post-copy needs a link that holds
it does not, post-copy is allowed           post-copy               it ends whatever the guest does
it does not                                 slow the guest down     down to the floor and not below it
it does not, the guest is at the floor      nothing                 a person decides; the reason is said
=========================================== ======================= ==============================================

Before the beginning: post-copy is armed where peer, route and QEMU have it; where not, a guest that changes more than
``BUSY`` gets several channels. Slowing down is armed in either case and does nothing until it is decided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from culvert.ground.units import MiB
from culvert.migration.progress import Forecast

FLOOR = 30  # percent of its CPU time that a guest keeps unless somebody says otherwise
STEP = 20  # percent by which it is slowed down further, at most once a round
STEADY = 30.0  # seconds that a link must have held before post-copy is trusted to it
ROUNDS = 3  # that have begun before anything is decided
BUSY = 50 * MiB  # bytes per second changed: more than one channel is worth its connections
CHANNELS = 4


class Action(Enum):
    """What can be done while QEMU sends."""

    GO_ON = "go on"
    THROTTLE = "slow the guest down"
    POSTCOPY = "post-copy"


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of a running migration.

    ``steady``: seconds since the link last broke, ``None`` if it never has. ``postcopy``: allowed and armed;
    ``throttle``: how many percent of its CPU time the guest may be denied by now; ``floor``: how many it keeps.
    """

    forecast: Forecast
    switched: bool = False
    steady: float | None = None
    postcopy: bool = False
    throttle: int = 0
    floor: int = FLOOR

    @property
    def at_floor(self) -> bool:
        """Whether the guest cannot be slowed down further."""
        return self.throttle >= 100 - self.floor


@dataclass(frozen=True, slots=True)
class Decision:
    """``throttle``: the percentage from now on, for THROTTLE. ``because``: a sentence for people."""

    action: Action
    because: str
    throttle: int = 0


@dataclass(frozen=True, slots=True)
class _Row:
    applies: Callable[[Situation], bool]
    action: Action
    because: Callable[[Situation], str]


def _just_broke(now: Situation) -> bool:
    return now.steady is not None and now.steady < STEADY


def _broke(now: Situation) -> str:
    return f"the link broke {now.steady or 0:.0f} s ago, and post-copy is for one that has held for {STEADY:.0f} s"


_ROWS = (
    _Row(lambda now: now.switched, Action.GO_ON, lambda now: "post-copy ends by itself"),
    _Row(
        lambda now: now.forecast.round < ROUNDS,
        Action.GO_ON,
        lambda now: "the first rounds show how fast the guest changes its memory and how much the link carries",
    ),
    _Row(lambda now: not now.forecast.why_not, Action.GO_ON, lambda now: "the guest's rounds are getting shorter"),
    _Row(
        lambda now: _just_broke(now) and now.postcopy and not now.at_floor,
        Action.THROTTLE,
        lambda now: f"{now.forecast.why_not}; {_broke(now)}: the guest is slowed down",
    ),
    _Row(
        lambda now: now.postcopy and not _just_broke(now),
        Action.POSTCOPY,
        lambda now: f"{now.forecast.why_not}: post-copy ends all the same",
    ),
    _Row(
        lambda now: not now.at_floor,
        Action.THROTTLE,
        lambda now: f"{now.forecast.why_not}; post-copy cannot be had here: the guest is slowed down",
    ),
    _Row(
        lambda now: True,
        Action.GO_ON,
        lambda now: (
            f"{now.forecast.why_not}; the guest keeps {now.floor} % of its speed and is not slowed down further"
            + (f"; {_broke(now)}" if now.postcopy else "; suspending it, or more bandwidth, would end it")
        ),
    ),
)


def decide(now: Situation) -> Decision:
    """The first row that applies."""
    row = next(row for row in _ROWS if row.applies(now))
    throttle = min(100 - now.floor, now.throttle + STEP) if row.action is Action.THROTTLE else 0
    return Decision(row.action, row.because(now), throttle)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to begin. ``connections`` besides the main one; ``because``: a sentence for people."""

    postcopy: bool
    connections: int
    because: str


def plan(*, dirty: float | None, may_postcopy: bool, may_parallel: bool) -> Plan:
    """``dirty``: bytes per second that the guest changes, measured before, ``None`` where it could not be."""
    seen = "" if dirty is None else f"the guest changes {dirty / MiB:.0f} MiB/s"
    if may_postcopy:
        return Plan(True, 0, f"{seen or 'nothing is known of the guest'}: pre-copy first, post-copy is armed")
    if may_parallel and dirty is not None and dirty > BUSY:
        return Plan(False, CHANNELS, f"{seen}, and post-copy cannot be had: {CHANNELS} channels")
    return Plan(False, 0, f"{seen or 'nothing is known of the guest'}: one channel, and slowing down is armed")
