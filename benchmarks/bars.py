"""The bars that culvert has to clear, computed from a run's results. Pure.

Every bar compares medians of one run; what it compares with is measured in the same run, on the same guest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.store import Record, Summary

CUT_SECONDS = 10.0
GiB = 1 << 30


class Medians:
    """The medians of a run, and which cells have failed."""

    def __init__(self, summary: Summary, errors: Sequence[Record] = ()) -> None:
        self._summary = summary
        self._failed = {(record.suite, record.case) for record in errors}

    def of(self, suite: str, case: str, figure: str) -> float:
        """One median. Raises ``KeyError`` when it was not measured."""
        return self._summary[suite][case][figure].median

    def has(self, suite: str, case: str, figure: str = "") -> bool:
        """Whether this figure, or any, was measured."""
        figures = self._summary.get(suite, {}).get(case, {})
        return figure in figures if figure else bool(figures)

    def failed(self, suite: str, case: str) -> bool:
        """Whether a measurement of this case came to nothing."""
        return (suite, case) in self._failed

    def ratio(self, suite: str, case: str, other: str, figure: str) -> float:
        """The case's median over the other's. Raises ``KeyError``."""
        return self.of(suite, case, figure) / self.of(suite, other, figure)


@dataclass(frozen=True, slots=True)
class Bar:
    """``value`` raises ``KeyError`` when the run has not got what it takes. ``at_least``: more is better."""

    name: str
    limit: float
    value: Callable[[Medians], float]
    unit: str = ""
    at_least: bool = False

    @property
    def text(self) -> str:
        """The limit in words."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{' ' if self.unit else ''}{self.unit}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a bar; ``value`` is ``None`` when it was not measured."""

    bar: Bar
    value: float | None

    @property
    def reached(self) -> bool | None:
        """``None`` when it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.bar.limit if self.bar.at_least else self.value <= self.bar.limit


def judge(medians: Medians, table: Sequence[Bar] | None = None) -> list[Verdict]:
    """The verdict on every bar of ``table`` (``BARS`` unless another is given), in its order."""
    verdicts = []
    for bar in BARS if table is None else table:
        try:
            verdicts.append(Verdict(bar, bar.value(medians)))
        except (KeyError, ZeroDivisionError):
            verdicts.append(Verdict(bar, None))
    return verdicts


_MAIN = "incompressible/"
_BRIEF = "brief/"


def _wall(mover: str, other: str) -> Callable[[Medians], float]:
    return lambda m: m.ratio("move", _MAIN + mover, _MAIN + other, "wall_s")


def _cpu(mover: str) -> Callable[[Medians], float]:
    return lambda m: m.of("move", _MAIN + mover, "daemon_cpu_s_per_gib")


def _cpu_of_more(mover: str) -> Callable[[Medians], float]:
    """Seconds for each GiB more: what a move costs whatever its size cancels out between the two guests."""

    def value(m: Medians) -> float:
        seconds, sent = (
            m.of("move", _MAIN + mover, figure) - m.of("move", _BRIEF + mover, figure)
            for figure in ("daemon_cpu_s", "sent_bytes")
        )
        return seconds / (sent / GiB)

    return value


def _blackout(mover: str) -> Callable[[Medians], float]:
    return lambda m: m.of("move", _BRIEF + mover, "blackout_ms") - m.of("move", _BRIEF + "qemu-tcp", "blackout_ms")


def _cut(how: str) -> Callable[[Medians], float]:
    """Seconds beyond the cut itself; without end when one of the moves did not complete."""

    def value(m: Medians) -> float:
        if m.failed("cut", how):
            return float("inf")
        return m.of("cut", how, "total_s") - m.of("cut", "uncut", "total_s") - CUT_SECONDS

    return value


def _calls(call: str, by: str) -> Callable[[Medians], float]:
    return lambda m: m.ratio("rpc", f"{call}/{by}/culvert", f"{call}/{by}/libvirt", "calls_per_s")


def _asked(mover: str) -> Callable[[Medians], float]:
    return lambda m: m.of("asked", mover, "p99_us") / 1e3


BARS = (
    Bar("direct route, clear-text: wall time / QEMU to QEMU by plain TCP", 1.03, _wall("culvert-direct", "qemu-tcp")),
    Bar("direct route: both daemons' CPU per GiB", 0.02, _cpu("culvert-direct"), "s"),
    Bar("the same, per GiB more (a move's fixed cost left out)", 0.02, _cpu_of_more("culvert-direct"), "s"),
    Bar("pump, clear-text: both daemons' CPU per GiB", 0.6, _cpu("culvert-pump"), "s"),
    Bar("TLS, 1 channel: wall time / QEMU's own TLS", 0.85, _wall("culvert-tls-1", "qemu-tls-1")),
    Bar("TLS, 2 channels: wall time / QEMU's own TLS", 1.0, _wall("culvert-tls-2", "qemu-tls-2")),
    Bar(
        "TLS: daemons' CPU / libvirt's, tunnelled in TLS",
        0.4,
        lambda m: m.ratio("move", _MAIN + "culvert-tls-1", _MAIN + "libvirt-tunnelled-tls", "daemon_cpu_s_per_gib"),
    ),
    Bar("clear-text, direct: wall time / libvirt --tunnelled", 0.75, _wall("culvert-direct", "libvirt-tunnelled")),
    Bar("clear-text, pump: wall time / libvirt --tunnelled", 0.75, _wall("culvert-pump", "libvirt-tunnelled")),
    Bar("blackout added over QEMU to QEMU, direct", 10, _blackout("culvert-direct"), "ms"),
    Bar("blackout added over QEMU to QEMU, pump", 10, _blackout("culvert-pump"), "ms"),
    Bar("10 s without a road, packets lost: total grows by 10 s and", 2, _cut("drop"), "s"),
    Bar("10 s without a road, connections reset: total grows by 10 s and", 2, _cut("reset"), "s"),
    Bar("calls per second / libvirtd, one at a time", 0.7, _calls("get-lib-version", "blocking"), at_least=True),
    Bar("the same, four under way", 0.7, _calls("get-lib-version", "pipelined"), at_least=True),
    Bar("domain state: calls per second / libvirtd", 0.7, _calls("domain-get-state", "blocking"), at_least=True),
    Bar("domain state while two channels are saturated, p99", 20, _asked("culvert-pump-2"), "ms"),
    Bar("the same, encrypted", 20, _asked("culvert-tls-2"), "ms"),
)
