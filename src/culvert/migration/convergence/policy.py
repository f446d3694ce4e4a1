"""What ``--auto`` does and why, as a table; pure.

=========================================== ======================= ==============================================
it is so                                    then                    because
=========================================== ======================= ==============================================
post-copy has begun                         nothing                 it ends by itself
a round begins that takes ``SHORT`` at      post-copy               the guest stands still for a moment only, and
most, post-copy is allowed and the link                             waits for pages no longer than that
has not just broken
too few rounds to know                      nothing                 a guess would cost the guest something
the guest converges                         nothing                 the time left is known
it does not, post-copy is allowed and the   post-copy               it ends whatever the guest does
link has not just broken
it does not, a longer standstill would do   allow it, as long as    a moment costs the guest least
                                            it has to be, never
                                            longer than a person
                                            allows
it does not                                 slow the guest down     down to the floor and not below it
it does not, the guest is at the floor      nothing                 a person decides; the reason is said
=========================================== ======================= ==============================================

That short post-copy is begun with a round and not within one: at the switch QEMU looks up what the guest has changed
since the round began, and the guest stands still for that.

A migration begins with a standstill of ``BRIEF`` at most. Post-copy that a person has armed and nobody flies
(``ARMED``) gets what the person allows as soon as the third round has begun and nobody has switched: then it is as if
it had not been armed.

Before the beginning: post-copy is armed where peer, route and QEMU have it; where not, a guest that changes more than
``BUSY`` gets several channels, and so does one, not measured by then, whose destination finds only while it prepares
that its QEMU has it not. A link that carries less than ``SLOW`` gets the tunnel's compression. Slowing down is
armed in either case and does nothing until it is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from culvert.ground.units import MiB
from culvert.migration.progress.progress import Forecast

BRIEF = 0.02  # seconds: about what the switch to post-copy and the hand-over take by themselves; less gains nothing
SHORT = 1.0  # seconds: a post-copy that lasts no longer costs a guest less than the standstill of the last round
FLOOR = 30  # percent of its CPU time that a guest keeps unless somebody says otherwise
STEP = 20  # percent by which it is slowed down further, at most once a round
BEGINS = 0.3  # seconds: a round that is no older has just begun
SPARE = 1.2  # times what a standstill has to be: no two rounds leave the same
STEADY = 30.0  # seconds that a link must have held before post-copy is trusted to it
ROUNDS = 3  # that have begun before anything is decided
BUSY = 50 * MiB  # bytes per second changed: more than one channel is worth its connections
CHANNELS = 4
SLOW = 64 * MiB  # bytes per second: one core compresses a few times as much (docs/tunnel.md), so it can only gain


class Action(Enum):
    """What can be done while QEMU sends."""

    GO_ON = "go on"
    ALLOW = "a longer standstill"
    THROTTLE = "slow the guest down"
    POSTCOPY = "post-copy"


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of a running migration.

    ``limit``: seconds that the guest may stand still as QEMU has been told, ``most``: as a person allows.
    ``steady``: seconds since the link last broke, ``None`` if it never has. ``postcopy``: allowed and armed;
    ``throttle``: how many percent of its CPU time the guest may be denied by now; ``floor``: how many it keeps.
    ``as_asked``: a person has said how QEMU slows the guest down, and nobody else says anything of it.
    """

    forecast: Forecast
    limit: float = BRIEF
    most: float = BRIEF
    switched: bool = False
    steady: float | None = None
    postcopy: bool = False
    throttle: int = 0
    floor: int = FLOOR
    as_asked: bool = False

    @property
    def at_floor(self) -> bool:
        """Whether the guest cannot be slowed down further."""
        return self.throttle >= 100 - self.floor


@dataclass(frozen=True, slots=True)
class Decision:
    """``throttle``: the percentage from now on, for THROTTLE; ``limit``: seconds from now on, for ALLOW. ``because``:
    a sentence for people."""

    action: Action
    because: str
    throttle: int = 0
    limit: float = 0.0


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """When it ``applies``, its ``action`` is taken, ``because``."""

    applies: Callable[[Situation], bool]
    action: Action
    because: Callable[[Situation], str]


def _just_broke(now: Situation) -> bool:
    return now.steady is not None and now.steady < STEADY


def _broke(now: Situation) -> str:
    return f"the link broke {now.steady or 0:.0f} s ago, and post-copy is for one that has held for {STEADY:.0f} s"


def _no_postcopy(now: Situation) -> str:
    return _broke(now) if now.postcopy else "post-copy cannot be had here"


def _longer(now: Situation) -> float:
    """What would end it now, with something to spare; all that is allowed where that is not enough."""
    needed = now.forecast.needed
    if needed is None or needed * SPARE > now.most:
        return now.most
    return min(now.most, max(needed * SPARE, now.limit))


def _nearly_there(now: Situation) -> bool:
    forecast = now.forecast
    return forecast.round_left is not None and forecast.round_left <= SHORT and forecast.round_age <= BEGINS


_SWITCHED = PolicyRow(lambda now: now.switched, Action.GO_ON, lambda now: "post-copy ends by itself")
_EARLY = PolicyRow(
    lambda now: now.forecast.round < ROUNDS,
    Action.GO_ON,
    lambda now: "the first rounds show how fast the guest changes its memory and how much the link carries",
)
AUTO = (
    _SWITCHED,
    PolicyRow(
        lambda now: now.postcopy and not _just_broke(now) and _nearly_there(now),
        Action.POSTCOPY,
        lambda now: (
            f"the last round takes {now.forecast.round_left or 0:.1f} s: a post-copy that short costs the guest less "
            "than to stand still for the last of it"
        ),
    ),
    _EARLY,
    PolicyRow(lambda now: not now.forecast.stuck, Action.GO_ON, lambda now: "the guest's rounds are getting shorter"),
    PolicyRow(
        lambda now: now.postcopy and not _just_broke(now),
        Action.POSTCOPY,
        lambda now: f"{now.forecast.stuck}: post-copy ends all the same",
    ),
    PolicyRow(
        lambda now: now.limit < now.most,
        Action.ALLOW,
        lambda now: (
            f"{now.forecast.stuck}; {_no_postcopy(now)}: the guest may stand still for {1000 * _longer(now):.0f} ms"
        ),
    ),
    PolicyRow(
        lambda now: now.as_asked,
        Action.GO_ON,
        lambda now: f"{now.forecast.stuck}; {_no_postcopy(now)}: QEMU slows the guest down as it was asked to",
    ),
    PolicyRow(
        lambda now: not now.at_floor,
        Action.THROTTLE,
        lambda now: f"{now.forecast.stuck}; {_no_postcopy(now)}: the guest is slowed down",
    ),
    PolicyRow(
        lambda now: True,
        Action.GO_ON,
        lambda now: (
            f"{now.forecast.stuck}; the guest keeps {now.floor} % of its speed and is not slowed down further"
            + (f"; {_broke(now)}" if now.postcopy else "; suspending it, or more bandwidth, would end it")
        ),
    ),
)
"""For ``--auto``."""
ARMED = (
    _SWITCHED,
    _EARLY,
    PolicyRow(
        lambda now: now.limit < now.most,
        Action.ALLOW,
        lambda now: f"nobody has switched to post-copy: the guest may stand still for {1000 * now.most:.0f} ms",
    ),
    PolicyRow(lambda now: True, Action.GO_ON, lambda now: "who has armed post-copy may switch"),
)
"""For post-copy that a person has armed without ``--auto``."""


def decide(now: Situation, rows: Sequence[PolicyRow] = AUTO) -> Decision:
    """The first of ``rows`` that applies."""
    row = next(row for row in rows if row.applies(now))
    throttle = min(100 - now.floor, now.throttle + STEP) if row.action is Action.THROTTLE else 0
    limit = (_longer(now) if rows is AUTO else now.most) if row.action is Action.ALLOW else 0.0
    return Decision(row.action, row.because(now), throttle, limit)


@dataclass(frozen=True, slots=True)
class Known:
    """What was found out before the beginning: bytes per second that the guest changes and that the link carries,
    ``None`` for what could not be."""

    dirty: float | None = None
    link: float | None = None

    def __str__(self) -> str:
        told = [
            f"the link carries at least {self.link / MiB:.0f} MiB/s" if self.link is not None else "",
            f"the guest changes {self.dirty / MiB:.0f} MiB/s" if self.dirty is not None else "",
        ]
        return ", ".join(each for each in told if each) or "nothing is known of link and guest"


@dataclass(frozen=True, slots=True)
class Plan:
    """How to begin. ``connections`` besides the main one; ``compress``: by the tunnel, where that makes it faster;
    ``choice``: that in words."""

    postcopy: bool
    connections: int
    compress: bool
    choice: str
    known: Known

    @property
    def because(self) -> str:
        """A sentence for people."""
        return f"{self.known}: {self.choice}"


def plan(known: Known, *, may_postcopy: bool, may_parallel: bool, may_compress: bool) -> Plan:
    """``may_…``: what peer, route and person leave open."""
    busy = may_parallel and not may_postcopy and known.dirty is not None and known.dirty > BUSY
    compress = may_compress and known.link is not None and known.link < SLOW
    if may_postcopy:
        choice = "pre-copy first, post-copy is armed"
    elif busy:
        choice = f"post-copy cannot be had: {CHANNELS} channels, and slowing down is armed"
    else:
        choice = "one channel, and slowing down is armed"
    gains = "; what goes over it is compressed where that gains time" if compress else ""
    return Plan(may_postcopy, CHANNELS if busy else 0, compress, choice + gains, known)
