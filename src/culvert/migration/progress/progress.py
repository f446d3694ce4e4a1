"""How far a migration is and how it will go on, told so that it can be relied on; pure.

Memory is sent in rounds: the first takes everything, each further one what the guest has changed during the one
before. QEMU says how much of a round is left, how much has gone out, and at each round's end how fast the guest has
changed pages (qapi/migration.json, MigrationStats). From that the rounds still to come are played:

    the next round's size = what the guest changes in this one = min(its working set, its rate × this one's time)

until what is left fits into the downtime that is allowed. Where the sizes do not shrink they never will: then what
is known to be done about that is played too (``Foreseen``), and where nothing is, it is said, with both rates, as
soon as two rounds have shown it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from culvert.ground.units import MiB
from culvert.hypervisor.statistics import Statistics
from culvert.hypervisor.status import POSTCOPY, SETTLED

DOWNTIME_LIMIT = 0.3  # seconds: downtime-limit of a QEMU that was told nothing
_MEMORY = 0.5  # seconds: a rate's older half counts for half of it
_BRIEF = 0.05  # seconds: a round so short says nothing of the guest's rate
_SHRINKS = 0.9  # of a round: the next one must be smaller than that, or rounds are going nowhere
_ARMED = 2  # the round at whose begin a client switches (virsh, --postcopy-after-precopy)
_LOOKED_AT = 4  # rounds: so many alike are not going to be followed by others
_ROUNDS = 500  # that are played at most
_HAND_OVER = 0.1  # seconds from QEMU's last byte to the guest's running there, where nothing is known of it
_SWITCH = 0.03  # seconds that the guest stands still at the switch to post-copy
_STILL = 3.0  # seconds without a byte after which nothing is said of the time left
_AGREE = 1.1  # a second opinion about a rate makes the range at least so wide, in both directions


@dataclass(frozen=True, slots=True)
class Forecast:
    """What can be said now. Sizes in bytes, rates in bytes per second, times in seconds; ``None``: nobody knows yet.

    ``percent`` of the work, never less than it was, 100 only at the end. ``rate`` is what goes over the way,
    ``dirty_rate`` what the guest changes. ``left`` is the likeliest time until the guest runs there, between
    ``left_low`` and ``left_high`` (``None`` with a ``left``: it may be any time). ``total`` is ``left`` and what has
    passed. ``downtime``: the predicted standstill. ``stuck``: why its rounds do not end with the standstill that QEMU
    has been told of; ``needed``: the standstill that would end them, as far as is known. ``why_not``: the same where
    nothing is going to be done about it. Both are empty when it ends, or when that is not known. ``round_left``: time
    that the rest of this round takes; ``round_age``: time since it began.
    """

    percent: float = 0.0
    round: int = 0
    rate: float = 0.0
    dirty_rate: float | None = None
    left: float | None = None
    left_low: float | None = None
    left_high: float | None = None
    total: float | None = None
    downtime: float | None = None
    stuck: str = ""
    needed: float | None = None
    why_not: str = ""
    round_left: float | None = None
    round_age: float = 0.0


@dataclass(frozen=True, slots=True)
class Rest:
    """What is still to come: seconds until all is there, bytes to be sent, seconds of standstill at the end."""

    seconds: float
    bytes: float
    downtime: float


@dataclass(frozen=True, slots=True)
class Dirtying:
    """``dirty`` bytes per second change, of a ``working_set``; it may stand still for ``limit`` seconds."""

    dirty: float
    working_set: float
    limit: float


def play(remaining: float, speed: float, guest: Dirtying, running: float = 0.0) -> Rest | None:
    """The rounds still to come: ``remaining`` bytes of this one, which has been ``running`` for so many seconds, sent
    at ``speed``. ``None``: it never ends."""
    if speed <= 0:
        return None if remaining else Rest(0.0, 0.0, 0.0)
    seconds = sent = 0.0
    for _ in range(_ROUNDS):
        time = remaining / speed
        size = remaining + speed * running
        seconds, sent = seconds + time, sent + remaining
        changed = min(guest.working_set, guest.dirty * (running + time))
        if changed <= speed * guest.limit:
            standstill = changed / speed
            return Rest(seconds + standstill, sent + changed, standstill)
        if changed > _SHRINKS * size:
            return None
        remaining, running = changed, 0.0
    return None


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What is done about a guest's rounds. The standstill is raised to ``most`` seconds where they do not end. Or the
    guest goes over to post-copy: when what a round leaves takes ``short`` seconds at most, and else when ``rounds``
    more have begun (``None``: it is not known to)."""

    most: float = 0.0
    short: float = 0.0
    rounds: int | None = None


def foresee(remaining: float, speed: float, guest: Dirtying, ahead: Foreseen, running: float = 0.0) -> Rest | None:
    """``play``, with what is going to be done. ``None``: it never ends all the same."""
    if speed <= 0:
        return play(remaining, speed, guest, running)
    if ahead.rounds is None:
        rest = play(remaining, speed, guest, running)
        if rest is None and ahead.most > guest.limit:
            rest = play(remaining, speed, replace(guest, limit=ahead.most), running)
        return rest
    soon = play(remaining, speed, replace(guest, limit=max(ahead.short, guest.limit)), running)
    if soon is None:
        return _switched(remaining, speed, guest, running, ahead.rounds)
    return replace(soon, downtime=min(soon.downtime, _SWITCH))


def _switched(remaining: float, speed: float, guest: Dirtying, running: float, rounds: int) -> Rest:
    """So many more rounds begin, then all that is left goes over in post-copy."""
    seconds = sent = 0.0
    for _ in range(rounds):
        time = remaining / speed
        seconds, sent = seconds + time, sent + remaining
        remaining, running = min(guest.working_set, guest.dirty * (running + time)), 0.0
    remaining += min(guest.working_set, guest.dirty * running)
    return Rest(seconds + remaining / speed, sent + remaining, _SWITCH)


class _Rate:
    """An average that forgets: bytes per second of a count that only grows. A short look at it says little."""

    def __init__(self, known: float | None = None) -> None:
        """``known``: from elsewhere, as good as a look as long as the memory."""
        self._worth = 0.0 if known is None else 0.5
        self._sum = self._worth * (known or 0.0)

    @property
    def value(self) -> float | None:
        return self._sum / self._worth if self._worth else None

    def add(self, count: float, seconds: float) -> None:
        if seconds <= 0:
            return
        kept = 0.5 ** (seconds / _MEMORY)
        self._sum = self._sum * kept + count / seconds * (1 - kept)
        self._worth = self._worth * kept + 1 - kept


class Course:
    """One migration, looked at again and again. ``limit``: the downtime that QEMU has been told, in seconds."""

    def __init__(self, limit: float = DOWNTIME_LIMIT) -> None:
        self.limit = limit
        self.most = limit
        """What it is raised to at most."""
        self.switches_from: int | None = None
        """The round at whose begin a guest that does not converge goes over to post-copy, where it does."""
        self.switches_short = 0.0
        """It does so as soon as what a round leaves takes so many seconds, whether it converges or not."""
        self.armed = False
        """Whether somebody may switch to post-copy. Who has armed it is taken to do so when the second round begins,
        until the third has."""
        self.forecast = Forecast()
        self._last: tuple[float, Statistics] | None = None
        self._clears = _Rate()
        """How fast what is left of a round gets less."""
        self._sends = _Rate()
        """How fast bytes go out."""
        self._done = 0.0
        self._rounds: list[tuple[float, float]] = []
        """Of each round but the first: its size, and what the guest changed in a second to make it."""
        self._moved_at = self._round_began = 0.0
        self._told = 0

    def feed(self, at: float, qemu: Statistics) -> Forecast:
        """QEMU's figures ``at`` seconds after the begin; later calls have a later time. What can be said then."""
        if qemu.status in SETTLED:
            whole = 100.0 if qemu.status == "completed" else self.forecast.percent
            self.forecast = Forecast(
                percent=whole, round=qemu.dirty_sync_count, rate=self._sends.value or 0.0, left=0.0, total=at
            )
            return self.forecast
        if qemu.ram_total == 0:
            return self.forecast
        self._learn(at, qemu)
        self._last = (at, qemu)
        self.forecast = self._say(at, qemu)
        return self.forecast

    def _learn(self, at: float, qemu: Statistics) -> None:
        if self._last is None:
            self._moved_at = self._round_began = at
            self._sends = _Rate(float(qemu.ram_bps) or None)  # QEMU's own word, until there are two looks
            return
        then, before = self._last
        seconds, sent = at - then, qemu.ram_transferred - before.ram_transferred
        if seconds <= 0:
            return
        if sent > 0:
            self._moved_at = at
        self._sends.add(max(0, sent), seconds)
        cleared = qemu.pages_bytes - before.pages_bytes if qemu.looks_often else before.left - qemu.left
        if qemu.dirty_sync_count > before.dirty_sync_count > 0:
            self._begin_round(at, qemu, before)
        elif cleared >= 0:
            self._done += cleared
            if qemu.status == before.status:  # nothing goes over while the guest is switched
                self._clears.add(cleared, seconds)
        if self._rounds and qemu.dirty_pages_rate != self._told:
            # QEMU tells it a moment after the round's number, and once in a second at most.
            self._told = qemu.dirty_pages_rate
            self._rounds[-1] = self._rounds[-1][0], float(qemu.dirty_pages_rate * qemu.page_size)

    def _begin_round(self, at: float, qemu: Statistics, before: Statistics) -> None:
        """A round has ended since the last look, and is done: what is left is nearly all of the new one."""
        self._done += qemu.pages_bytes - before.pages_bytes if qemu.looks_often else before.left
        size, took = float(qemu.left), at - self._round_began
        # The rest of a round that fits into the downtime is not sent before the guest's changes are looked up.
        over = max(0, before.left - (qemu.ram_transferred - before.ram_transferred))
        if qemu.looks_often:
            over = 0  # all that is left was changed in the round that has ended
        if took > _BRIEF or (took > 0 and not self._rounds):
            dirty = max(0.0, size - over) / took
        else:
            dirty = self._rounds[-1][1] if self._rounds else 0.0
        self._rounds.append((size, dirty))
        self._round_began = at
        if before.dirty_sync_count == 1:
            self._clears = _Rate(self._sends.value)  # the first round had pages of zeros in it, which cost nothing

    @property
    def _speed(self) -> float:
        return self._clears.value or self._sends.value or 0.0

    def _say(self, at: float, qemu: Statistics) -> Forecast:
        remaining, speed = float(qemu.left), self._speed
        switched = qemu.status in POSTCOPY
        dirty = 0.0 if switched else self._dirty
        measured = switched or bool(self._rounds)
        guest, running = Dirtying(dirty, self._working_set(qemu), self.limit), at - self._round_began
        still = at - self._moved_at > _STILL
        goes_nowhere = not switched and (
            play(remaining, speed, guest, running) is None or self._flat(speed, self.limit)
        )
        rest = self._foresee(remaining, speed, guest, running, qemu)
        likely = rest is not None and speed > 0 and not still
        left = rest.seconds + _HAND_OVER * (not switched) if rest is not None and likely else None
        low, high = self._range(at, qemu, dirty) if likely else (None, None)
        if left is not None and low is not None:
            low = min(low, left)
        if left is not None and high is not None:
            high = max(high, left)
        stuck = self._reason(speed, dirty) if goes_nowhere and len(self._rounds) > 1 else ""
        return Forecast(
            percent=self._percent(rest),
            round=qemu.dirty_sync_count,
            rate=self._sends.value or 0.0,
            dirty_rate=dirty if measured else None,
            left=left,
            left_low=low,
            left_high=high,
            total=None if left is None else at + left,
            downtime=rest.downtime if rest is not None and likely and measured and not switched else None,
            stuck=stuck,
            needed=self._rounds[-1][0] / speed if stuck and speed > 0 else None,
            why_not=stuck if rest is None else "",
            round_left=remaining / speed if self._rounds and speed > 0 and not switched else None,
            round_age=running,
        )

    def _foresee(
        self, remaining: float, speed: float, guest: Dirtying, running: float, qemu: Statistics
    ) -> Rest | None:
        """What is still to come; rounds that have shown that they get no smaller are not believed to."""
        if qemu.status in POSTCOPY:
            return play(remaining, speed, guest, running)
        begun, switches = qemu.dirty_sync_count, None
        if self.switches_from is not None:
            switches = max(0, self.switches_from - begun)
        ahead = Foreseen(self.most, self.switches_short, switches)
        if self.armed and begun <= _ARMED and speed > 0:
            return _switched(remaining, speed, guest, running, _ARMED - begun)
        if self._flat(speed, self.limit):
            if switches is not None:
                return _switched(remaining, speed, guest, running, switches) if speed > 0 else None
            if self._flat(speed, self.most):
                return None
            return play(remaining, speed, replace(guest, limit=self.most), running)
        return foresee(remaining, speed, guest, ahead, running)

    def _flat(self, speed: float, limit: float) -> bool:
        """Whether the last rounds have shown by themselves that they get no smaller, whatever a model says."""
        sizes = [size for size, _ in self._rounds[-_LOOKED_AT:]]
        *before, last = sizes or [0.0]
        return len(sizes) == _LOOKED_AT and min(sizes) > speed * limit and last > _SHRINKS * sum(before) / len(before)

    @property
    def _dirty(self) -> float:
        """Of the last round: a throttled guest, or one that has become calm, is not what it was."""
        return self._rounds[-1][1] if self._rounds else 0.0

    def _working_set(self, qemu: Statistics) -> float:
        """What changes again and again: the largest of the last rounds; all of the memory before any is known."""
        return max((size for size, _ in self._rounds[-3:]), default=float(qemu.ram_total))

    def _range(self, at: float, qemu: Statistics, dirty: float) -> tuple[float | None, float | None]:
        speeds = [rate for rate in (self._clears.value, self._sends.value) if rate]
        fast, slow = max(speeds) * _AGREE, min(speeds) / _AGREE
        rates = [dirty] if qemu.status in POSTCOPY else [rate for _, rate in self._rounds[-3:]] or [dirty]
        whole, running, remaining = self._working_set(qemu), at - self._round_began, float(qemu.left)
        slower, faster = (
            Dirtying(max(rates) * _AGREE, whole, self.limit),
            Dirtying(min(rates) / _AGREE, whole, self.limit),
        )
        lows = [self._foresee(remaining, fast, faster, running, qemu)]
        highs = [self._foresee(remaining, slow, slower, running, qemu)]
        if self.armed and qemu.status not in POSTCOPY:  # nobody knows whether it will be used
            ahead = Foreseen(self.most)
            lows.append(foresee(remaining, fast, faster, ahead, running))
            highs.append(foresee(remaining, slow, slower, ahead, running))
        low = min((rest.seconds for rest in lows if rest is not None), default=None)
        high = None if None in highs else max(rest.seconds for rest in highs if rest is not None)
        return low, None if high is None or not self._rounds else high + 2 * _HAND_OVER

    def _percent(self, rest: Rest | None) -> float:
        if rest is None:
            return self.forecast.percent  # rounds that go nowhere are no progress
        now = 100.0 * self._done / (self._done + rest.bytes) if self._done + rest.bytes else 0.0
        return max(self.forecast.percent, min(now, 99.0))

    def _reason(self, speed: float, dirty: float) -> str:
        return (
            f"the guest changes {dirty / MiB:.0f} MiB/s, the way carries {speed / MiB:.0f} MiB/s: "
            f"{self._rounds[-1][0] / MiB:.0f} MiB are left after every round"
        )
