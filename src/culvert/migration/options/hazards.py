"""What is known to go wrong between certain versions of QEMU, as a table; pure.

Nothing is refused for it: it has happened to somebody, or is said in a changelog, and most such migrations go well.
Whoever starts one hears of it, and reads it again when it has failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from culvert.migration.options.combinations import Version, spoken


class Mark(Enum):
    """How it is known."""

    SEEN = "seen in a release's own papers or code"
    REPORTED = "reported"
    MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class Versions:
    """From ``since`` up to but without ``before``; 0 for an open end."""

    since: Version = 0
    before: Version = 0

    def __contains__(self, version: Version) -> bool:
        return self.since <= version and (not self.before or version < self.before)

    def __str__(self) -> str:
        since = f"from {spoken(self.since)}" if self.since else ""
        before = f"before {spoken(self.before)}" if self.before else ""
        return f"{since} {before}".strip() or "any"


@dataclass(frozen=True, slots=True)
class Hazard:
    """Between a QEMU of ``source`` and one of ``destination``, when all of ``when`` is asked for.

    ``when``: in the words of ``combinations.features``, and ``qemu tls`` where QEMU itself encrypts, which it does in
    no migration of culvert's own; ``tcg``: of a guest that QEMU emulates.
    """

    source: Versions
    destination: Versions
    when: frozenset[str]
    happens: str
    known_by: str
    mark: Mark
    told: bool = True
    """Whether who migrates hears of it; what concerns every such migration is for the documents."""


def _at(major: int, minor: int, micro: int = 0) -> Version:
    return major * 1_000_000 + minor * 1_000 + micro


ANY = Versions()
HAZARDS = (
    Hazard(
        Versions(since=_at(11, 1)),
        ANY,
        frozenset({"--postcopy", "tcg"}),
        "the guest loses writes once post-copy is allowed, also where it is not switched to: refused without "
        "--unsafe, and --auto does without; nobody has tried it with KVM",
        "two QEMUs alone, 11.1.3 as the source",
        Mark.MEASURED,
    ),
    Hazard(
        Versions(before=_at(7, 2)),
        Versions(since=_at(9, 2)),
        frozenset({"--parallel"}),
        "the connection breaks (broken pipe); without --parallel it does not",
        "QEMU's issue 2720",
        Mark.REPORTED,
    ),
    Hazard(
        Versions(before=_at(10, 0)),
        Versions(since=_at(10, 0)),
        frozenset({"--parallel", "qemu tls"}),
        "the source does not end its TLS sessions, which the destination takes for an attack; it needs "
        "multifd-clean-tls-termination=off",
        "a property of QEMU 10.0; commit 9b3b192f",
        Mark.SEEN,
    ),
    Hazard(
        Versions(before=_at(10, 1)),
        Versions(_at(10, 1), _at(10, 1, 2)),
        frozenset(),
        "guests of QEMU 10.0 and earlier may not be taken by 10.1.0 and 10.1.1; 10.1.2 mends it",
        "Debian's changelog of 10.1.2",
        Mark.SEEN,
    ),
    Hazard(
        Versions(_at(10, 0), _at(10, 0, 2)),
        ANY,
        frozenset({"--parallel"}),
        "capabilities cannot be set once parallel connections are on",
        "Debian's changelog of 10.0.2",
        Mark.SEEN,
    ),
    Hazard(
        Versions(_at(10, 0), _at(10, 0, 2)),
        ANY,
        frozenset({"preempt"}),
        "capabilities cannot be set once the channel for preempted pages is on",
        "Debian's changelog of 10.0.2",
        Mark.SEEN,
    ),
    Hazard(
        ANY,
        Versions(before=_at(11, 1, 1)),
        frozenset({"--parallel"}),
        "a source that is broken, or hostile, can end the destination's QEMU, or more where zlib or zstd compress: "
        "the size of a packet is not looked at before 11.1.1; take guests of hosts that are trusted",
        "Debian's changelog of 11.1.1",
        Mark.SEEN,
        told=False,
    ),
    Hazard(
        Versions(before=_at(11, 1)),
        Versions(before=_at(11, 1)),
        frozenset({"--postcopy", "qemu tls"}),
        "post-copy over TLS 1.3 of QEMU's own breaks at a key update, each 32 GiB of the main channel (both ends "
        "stand in postcopy-paused, and can be recovered)",
        "GnuTLS's issue 1717; measured with 7.2 and 10.0",
        Mark.SEEN,
    ),
)
"""By what is asked for and the two versions, no order meant."""


def of(asked: frozenset[str], *, source: Version, destination: Version) -> list[Hazard]:
    """What is known of these; nothing where one of the versions is not known (0)."""
    if not source or not destination:
        return []
    told = (each for each in HAZARDS if each.told and each.when <= asked)
    return [each for each in told if source in each.source and destination in each.destination]


def words(hazard: Hazard, *, source: Version, destination: Version) -> str:
    """For a person."""
    when = f", with {' and '.join(sorted(hazard.when))}" if hazard.when else ""
    return (
        f"known to go wrong from QEMU {spoken(source)} to {spoken(destination)}{when}: {hazard.happens} "
        f"({hazard.known_by}; {hazard.mark.name.lower()})"
    )
