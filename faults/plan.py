"""The matrix itself, as tables: what moves the guest, where it is caught, what breaks, and what may come of it. Pure.

One row is added here to have a new way of migrating, boundary or fault everywhere: in what is run and in what is
printed. ``CELLS`` of a way that a daemon does not have are left out by ``Way.who``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeVar


class Who(Enum):
    """Whose daemons the pair are."""

    CULVERT = "culvert"
    LIBVIRT = "libvirt"


BOTH = frozenset(Who)
CULVERT_ONLY = frozenset({Who.CULVERT})


# -- how the guest moves ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """``options`` of ``virsh migrate``. ``client``: virsh drives the steps.

    ``tunnelled``: libvirt's data are a stream of the daemons' connection; otherwise its QEMU listens by itself.
    ``tls``: nobody between the hosts can tell one packet from another. ``postcopy``: it is made to switch, where the
    boundary comes after that.
    """

    key: str
    title: str
    options: tuple[str, ...]
    who: frozenset[Who] = BOTH
    client: bool = False
    tunnelled: bool = False
    tls: bool = False
    postcopy: bool = False


WAYS = (
    Way("p2p", "p2p, tunnelled", ("--live", "--p2p", "--tunnelled"), tunnelled=True),
    Way("tls", "p2p by TLS", ("--live", "--p2p", "--tunnelled"), CULVERT_ONLY, tunnelled=True, tls=True),
    Way("client", "client-driven", ("--live",), client=True),
    Way("parallel", "parallel", ("--live", "--p2p", "--parallel", "--parallel-connections", "2")),
    Way("postcopy", "post-copy", ("--live", "--p2p", "--postcopy"), postcopy=True),
)


# -- where it is caught ----------------------------------------------------------------------------------------------


class Side(Enum):
    """One of the two hosts."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class Hook:
    """Inside culvert (``io.fault_points``): the daemon of ``side`` stands at ``point``."""

    side: Side
    point: str


class Packet(Enum):
    """A packet that is on its way between hosts, or between virsh and a host, and is held there."""

    PREPARE_CALL = "prepare call"
    PREPARE_REPLY = "prepare reply"
    FINISH_CALL = "finish call"
    FINISH_REPLY = "finish reply"
    CONFIRM_CALL = "confirm call"


class Flow(Enum):
    """The guest's memory is half-way."""

    MEMORY = "memory flows"
    POSTCOPY = "post-copy: it runs there, memory flows"


Place = Hook | Packet | Flow


@dataclass(frozen=True, slots=True)
class Boundary:
    """``place``: how it is reached. ``ways``: by which ways there is such a moment, empty for all.

    ``switched``: a post-copy has switched by then.
    """

    key: str
    title: str
    place: Place
    ways: frozenset[str] = frozenset()
    switched: bool = False

    def there_is(self, way: Way, who: Who) -> bool:
        """Whether a migration by ``way`` has this moment, and it can be caught with this daemon."""
        if isinstance(self.place, Hook) and who is not Who.CULVERT:
            return False
        if isinstance(self.place, Packet) and way.tls:
            return False
        return not self.ways or way.key in self.ways


_S, _D = Side.SOURCE, Side.DESTINATION
_ALL: frozenset[str] = frozenset()
_POSTCOPY = frozenset({"postcopy"})
_NOT_POSTCOPY = frozenset(way.key for way in WAYS if not way.postcopy)

BOUNDARIES = (
    Boundary("prepare-call", "prepare is on its way", Packet.PREPARE_CALL),
    Boundary("prepare", "prepare is written, QEMU not started", Hook(_D, "after.prepare")),
    Boundary("prepare-reply", "the answer to prepare is on its way", Packet.PREPARE_REPLY),
    Boundary("perform3", "perform3 is written, nothing sent", Hook(_S, "after.perform3")),
    Boundary("flow", "memory flows", Flow.MEMORY),
    Boundary("held", "held is written, QEMU has no data path yet", Hook(_D, "after.held"), _POSTCOPY),
    Boundary("postcopy-source", "postcopy is written, not switched", Hook(_S, "after.postcopy"), _POSTCOPY, True),
    Boundary("postcopy-destination", "the switch is written there", Hook(_D, "after.postcopy"), _POSTCOPY, True),
    Boundary(
        *("perform3-done", "perform3_done is written, the grant not out", Hook(_S, "after.perform3_done")),
        *(_NOT_POSTCOPY, True),
    ),
    Boundary("finish-call", "finish is on its way", Packet.FINISH_CALL, _ALL, True),
    Boundary("finish3", "finish3 is written, cont not said", Hook(_D, "after.finish3"), _ALL, True),
    Boundary("cont", "cont is said, arrived not written", Hook(_D, "before.arrived"), _ALL, True),
    Boundary("postcopy", "post-copy, memory flows", Flow.POSTCOPY, _POSTCOPY, True),
    Boundary("finish-reply", "the answer to finish is on its way", Packet.FINISH_REPLY, _ALL, True),
    Boundary("confirm-call", "confirm is on its way", Packet.CONFIRM_CALL, frozenset({"client"}), True),
    Boundary("confirm3", "confirm3 is written, QEMU not killed", Hook(_S, "after.confirm3"), _ALL, True),
    Boundary("left", "left is written", Hook(_S, "after.left"), _ALL, True),
)
ORDER = tuple(boundary.key for boundary in BOUNDARIES)


# -- what breaks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """``who``: with which daemons it can be done."""

    key: str
    title: str
    who: frozenset[Who] = BOTH
    root: bool = False
    """It needs a file system of its own."""
    at: frozenset[str] = frozenset()
    """At which boundaries there is such a fault, empty for all; then not in post-copy."""
    power: bool = False
    """The source's host loses its power, and the guest is to start with it."""


_ARRIVED = frozenset({"cont", "finish-reply", "confirm3", "left"})

FAULTS = (
    Fault("source-daemon", "source daemon kill -9"),
    Fault("source-daemon-back", "source daemon kill -9, back before the rest goes on"),
    Fault("destination-daemon", "destination daemon kill -9"),
    Fault("source-qemu", "source QEMU kill -9"),
    Fault("destination-qemu", "destination QEMU kill -9"),
    Fault("cut", "connections reset"),
    Fault("stall", "connections silent"),
    Fault("source-disk", "source journal's disk full", CULVERT_ONLY, root=True),
    Fault("destination-disk", "destination journal's disk full", CULVERT_ONLY, root=True),
    Fault("source-power", "source host loses its power", CULVERT_ONLY, at=_ARRIVED, power=True),
    Fault(
        *("source-disk-power", "source journal's disk full, then its power lost", CULVERT_ONLY),
        root=True,
        at=_ARRIVED,
        power=True,
    ),
    Fault(
        *("source-journal-power", "source host loses its power, its journal cannot be read", CULVERT_ONLY),
        root=True,
        at=frozenset({"confirm3", "left"}),
        power=True,
    ),
    Fault("abort", "domjobabort"),
    Fault("deadline", "deadline passes", CULVERT_ONLY),
)


# -- what may come of it ---------------------------------------------------------------------------------------------


class Word(Enum):
    """What came of it."""

    SOURCE = "ok-source"
    """One copy, at the source, whole; nothing left over; the next migration works."""
    DESTINATION = "ok-destination"
    """The same, at the destination."""
    LOST_TOLD = "lost-told"
    """QEMU itself was killed with the only copy, and that is said."""
    WAITS_RESOLVED = "waits"
    """Nobody can know, or post-copy needs a new way: what it waits for was said, an operator moved it."""
    WAITS = "WAITS"
    """The source stands still, and nothing but an operator's hand moves it."""
    TWICE = "TWICE"
    """Two copies have run, or one after a newer one."""
    LOST = "LOST"
    """No whole copy runs, and none needed to be lost, or nobody was told."""
    STRAY = "STRAY"
    """One copy runs, but something of the other is left, or of the attempt."""
    STUCK = "STUCK"
    """It has not come to an end, or the next migration does not work."""


GOOD = frozenset({Word.SOURCE, Word.DESTINATION})


@dataclass(frozen=True, slots=True)
class Cell:
    """One experiment."""

    boundary: Boundary
    fault: Fault
    way: Way
    who: Who
    name: str = field(init=False)

    def __post_init__(self) -> None:
        name = "/".join((self.who.value, self.way.key, self.boundary.key, self.fault.key))
        object.__setattr__(self, "name", name)

    @property
    def allowed(self) -> frozenset[Word]:
        """What is no failure of culvert's. A guest may be lost only with the QEMU that had the only whole copy."""
        at = ORDER.index(self.boundary.key)
        if self.way.postcopy and self.boundary.switched:
            # Either half may be the one that cannot be replaced, and a broken way needs somebody to open a new one.
            return GOOD | {Word.WAITS_RESOLVED, *([Word.LOST_TOLD] if self.fault.key.endswith("qemu") else [])}
        if self.fault.key == "source-qemu" and at < ORDER.index("perform3-done"):
            return GOOD | {Word.LOST_TOLD}
        if self.fault.key == "destination-qemu" and at >= ORDER.index("finish3"):
            # Its CPUs may have run: the source's copy may be older. Only where that is certain it is lost.
            return GOOD | {Word.WAITS_RESOLVED, Word.LOST_TOLD}
        return GOOD


def _sensible(cell: Cell) -> bool:
    at = cell.boundary.place
    gone_at_source = cell.boundary.key == "left" and cell.fault.key == "source-qemu"
    not_yet_there = cell.fault.key == "destination-qemu" and cell.boundary.key in ("prepare-call", "prepare")
    # Held in that very daemon, it cannot be back before it goes on.
    same = cell.fault.key == "source-daemon-back" and isinstance(at, Hook) and at.side is Side.SOURCE
    elsewhere = bool(cell.fault.at) and (cell.way.postcopy or cell.boundary.key not in cell.fault.at)
    return not (gone_at_source or not_yet_there or same or elsewhere)


def cells() -> Iterator[Cell]:
    """Every cell that makes sense, in the order of the tables."""
    for who in Who:
        for way in WAYS:
            for boundary in BOUNDARIES:
                for fault in FAULTS:
                    cell = Cell(boundary, fault, way, who)
                    if who in way.who and who in fault.who and boundary.there_is(way, who) and _sensible(cell):
                        yield cell


class Named(Protocol):
    """What has a name of parts with strokes between them."""

    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


def chosen(every: Iterable[N], words: Iterable[str]) -> list[N]:
    """Those that one of ``words`` names, or all without any. A word is parts of a name in their order: ``p2p/cut``.

    Raises ``ValueError`` for a word that names none.
    """
    found = list(every)
    wanted = [word.strip("/").split("/") for word in words]
    for parts in wanted:
        if not any(_named(cell, parts) for cell in found):
            raise ValueError(f"no cell is called '{'/'.join(parts)}'")
    return [cell for cell in found if not wanted or any(_named(cell, parts) for parts in wanted)]


def _named(cell: Named, parts: list[str]) -> bool:
    rest = iter(cell.name.split("/"))
    return all(part in rest for part in parts)


FAST = (
    "culvert/p2p/flow/destination-daemon",
    "culvert/p2p/perform3-done/source-daemon",
    "culvert/p2p/finish-call/source-daemon-back",
    "culvert/p2p/finish-call/cut",
    "culvert/p2p/perform3/source-disk",
    "culvert/p2p/finish3/destination-daemon",
    "culvert/p2p/cont/destination-daemon",
    "culvert/p2p/cont/source-daemon-back",
    "culvert/p2p/finish-reply/cut",
    "culvert/p2p/confirm3/source-daemon",
    "culvert/client/finish-reply/source-daemon",
    "culvert/client/confirm-call/cut",
    "culvert/parallel/flow/cut",
    "culvert/p2p/finish3/destination-qemu",
    "culvert/p2p/finish-reply/source-disk-power",
    "culvert/p2p/left/source-journal-power",
)
"""The cells that bite most: `make test` has them."""
