"""What is run in which generation and between which, and what must come of it, as tables. Pure.

A row more is a generation, a command, a way of moving or a machine type more, everywhere: in what is run and in what
is printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import product

Version = tuple[int, ...]


# -- generations -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Generation:
    """A Debian: ``suite`` of its archive. ``backports``: everything that its backports have comes from there.

    ``pairs``: guests move from and to it; otherwise it is there for its Python.
    """

    key: str
    title: str
    suite: str
    backports: bool = False
    pairs: bool = True


GENERATIONS = (
    Generation("12", "Debian 12", "bookworm"),
    Generation("13", "Debian 13", "trixie"),
    Generation("13-backports", "Debian 13 with backports", "trixie", backports=True),
    Generation("testing", "Debian testing", "testing", pairs=False),
)
"""From the oldest to the newest: what an older one cannot know follows from the order."""
ORDER = tuple(generation.key for generation in GENERATIONS)
PAIRED = tuple(generation.key for generation in GENERATIONS if generation.pairs)


def generation(key: str) -> Generation:
    """The one of this name. Raises ``KeyError``."""
    return {each.key: each for each in GENERATIONS}[key]


def own(os_release: str, qemu_package: str) -> str:
    """The key of the machine's own generation; '' when it is none of them.

    ``os_release``: the text of /etc/os-release (os-release(5)). ``qemu_package``: the version of the Debian package
    of QEMU that is installed; backports have ``~bpo`` in it.
    """
    told = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    values = {name: value.strip("\"'") for name, value in told.items()}
    if values.get("ID") != "debian":
        return ""
    codename, backports = values.get("VERSION_CODENAME", ""), "~bpo" in qemu_package
    found = [each.key for each in GENERATIONS if each.suite == codename and each.backports == backports]
    return found[0] if found else ""


# -- what is run in one generation -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """Commands that are run in a clean clone, one after the other; the last one's end is the cell's.

    ``everywhere``: also in a generation that is no part of pairs. ``last_words``: a pattern; the last line of the
    output that has it is what is kept of it.
    """

    key: str
    title: str
    commands: tuple[tuple[str, ...], ...]
    minutes: int
    everywhere: bool = False
    last_words: str = "."


_PYTEST = (".venv/bin/python", "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "--tb=short")
_COUNTS = r"\d+ (passed|failed|error).* in [\d.]+s"

COMMANDS = (
    Command("demo", "`make demo`", (("make", "demo"),), 20, True, last_words='"result"'),
    Command(
        "python",
        "`make check`",
        (("packaging/install-debian-packages", "packaging/debian-packages-check.txt"), ("make", "check")),
        *(40, True, _COUNTS),
    ),
    Command(
        "system",
        "`tests/system`",
        (("make", "setup", "test-packages"), (*_PYTEST, "tests/system")),
        *(90, False, _COUNTS),
    ),
    Command(
        "interop",
        "`tests/interop`",
        (("make", "setup", "test-packages"), (*_PYTEST, "tests/interop")),
        *(90, False, _COUNTS),
    ),
    Command(
        "rest",
        "all other tests",
        (
            ("make", "setup", "test-packages"),
            (*_PYTEST, "--ignore=tests/system", "--ignore=tests/interop"),
        ),
        *(90, False, _COUNTS),
    ),
    Command(
        "bench",
        "`make bench`, QEMU alone and `direct`",
        (
            (
                *("make", "bench"),
                "ARGS=--filter incompressible/qemu-tcp --filter incompressible/culvert-direct",
            ),
            ("grep", "-m1", "direct route, clear-text", "benchmarks/results/report.md"),
        ),
        *(60, False, r"direct route, clear-text"),
    ),
)


# -- how a guest moves -----------------------------------------------------------------------------------------------

KINDS = {"q35": "pc-q35-7.2", "pc": "pc-i440fx-7.2"}
"""What a definition calls a machine type → the oldest generation's, which every one has: it travels everywhere."""
BOTH = tuple(KINDS)

P2P = ("--live", "--p2p", "--tunnelled")
POSTCOPY = ("--postcopy", "--postcopy-after-precopy", "--bandwidth", "8")
PARALLEL = ("--parallel", "--parallel-connections", "2")


@dataclass(frozen=True, slots=True)
class Way:
    """``options`` of ``virsh migrate``; ``culvert``: of `culvert migrate` instead. ``tls``: between the hosts.

    ``since``: the QEMU that both ends need for it, () for any; an older one is refused by a text that has it.
    ``channels``: connections for the guest's memory, 0 where that is not laid down.
    """

    route: str
    mode: str
    options: tuple[str, ...]
    tls: bool = False
    culvert: bool = False
    since: Version = ()
    channels: int = 0
    switches: bool = False
    """It goes over to post-copy."""
    kinds: tuple[str, ...] = ("q35",)
    """With which kinds of machine between two generations; within one it is the first alone."""

    @property
    def key(self) -> str:
        """Its part of a cell's name."""
        return f"{self.route}/{self.mode}"


WAYS = (
    Way("direct", "pre-copy", P2P, channels=1, kinds=BOTH),
    Way("direct", "post-copy", (*P2P, *POSTCOPY), switches=True, kinds=BOTH),
    Way("direct", "client-driven", ("--live",), channels=1),
    Way("pump", "pre-copy", P2P, channels=1, kinds=BOTH),
    Way("pump", "post-copy", (*P2P, *POSTCOPY), switches=True),
    Way("pump", "parallel", ("--live", "--p2p", *PARALLEL), channels=3),
    Way(
        "pump", "parallel-zstd", ("--live", "--p2p", *PARALLEL, "--compressed", "--comp-methods", "zstd"), channels=3
    ),
    Way("pump", "parallel-post-copy", ("--live", "--p2p", *PARALLEL, *POSTCOPY), since=(10, 1), switches=True),
    Way("pump", "xbzrle", (*P2P, "--compressed", "--comp-methods", "xbzrle"), channels=1),
    Way("pump", "client-driven", ("--live",), channels=1),
    Way("pump", "compression", ("--route", "pump", "--compression", "on"), culvert=True, channels=1),
    Way("pump", "tls", P2P, tls=True, channels=1),
    Way("pump", "tls-parallel", ("--live", "--p2p", *PARALLEL), tls=True, channels=3),
    Way("pump", "tls-post-copy", (*P2P, *POSTCOPY), tls=True, switches=True),
    Way("pump", "tls-client-driven", ("--live",), tls=True, channels=1),
    Way("stream", "pre-copy", P2P, channels=1, kinds=BOTH),
    Way("stream", "client-driven", ("--live",), channels=1),
    Way("auto", "auto", ("--auto",), culvert=True),
)
"""Between two culverts. ``route`` is that of the daemons' settings."""


STOCK_WAYS = (
    Way("libvirtd", "tunnelled", P2P, kinds=BOTH),
    Way("libvirtd", "native", ("--live", "--p2p")),
    Way("libvirtd", "client-driven", ("--live",), kinds=BOTH),
)
"""Between a culvert and a libvirtd. From culvert, p2p is tunnelled always."""

_OWN_WAY = "direct/pre-copy"


# -- cells -----------------------------------------------------------------------------------------------------------


class Kind(Enum):
    """What a cell is about."""

    RUN = "run"
    PAIR = "pair"
    STOCK = "libvirtd"


class Word(Enum):
    """What came of it."""

    OK = "ok"
    REFUSED = "refused"
    """It was refused before anything had happened, and the guest runs on where it was."""
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Cell:
    """``first``: the generation it is run in, or where the guest begins; ``second``: the other host's.

    ``what``: the command's key or the way's; ``machine``: the machine type of the guest's definition.
    """

    kind: Kind
    first: str
    what: str
    second: str = ""
    machine: str = ""
    name: str = field(init=False)

    def __post_init__(self) -> None:
        parts = (self.kind.value, self.first, self.second, self.what, self.machine)
        object.__setattr__(self, "name", "/".join(part for part in parts if part))

    @property
    def generations(self) -> frozenset[str]:
        """Those that take part."""
        return frozenset({self.first, *([self.second] if self.second else [])})

    @property
    def way(self) -> Way:
        """How the guest moves; of cells that move one."""
        return {each.key: each for each in (*WAYS, *STOCK_WAYS)}[
            self.what if self.kind is Kind.PAIR else f"libvirtd/{self.what}"
        ]

    @property
    def command(self) -> Command:
        """What is run; of cells that run something."""
        return {each.key: each for each in COMMANDS}[self.what]


def cells() -> Iterator[Cell]:
    """Every cell, in the order of the tables."""
    for command, each in product(COMMANDS, GENERATIONS):
        if each.pairs or command.everywhere:
            yield Cell(Kind.RUN, each.key, command.key)
    for first, second in product(PAIRED, PAIRED):
        if first == second:
            yield from (Cell(Kind.PAIR, first, way.key, second, "q35") for way in WAYS)
            continue
        yield from (Cell(Kind.PAIR, first, way.key, second, KINDS[kind]) for way in WAYS for kind in way.kinds)
        yield from (Cell(Kind.PAIR, first, _OWN_WAY, second, kind) for kind in KINDS)
    for first, second in product(PAIRED, PAIRED):
        for way in STOCK_WAYS:
            yield from (Cell(Kind.STOCK, first, way.mode, second, KINDS[kind]) for kind in way.kinds)


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come of a cell: ``word``, and when it is refused, what its reason must name."""

    word: Word
    names: str = ""


def expected(cell: Cell, qemu: Mapping[str, Version]) -> Expected:
    """What must come of ``cell``; ``qemu``: the version of QEMU in each generation that takes part."""
    if cell.kind is Kind.RUN:
        return Expected(Word.OK)
    since = cell.way.since
    if since and any(qemu[key][: len(since)] < since for key in cell.generations):
        return Expected(Word.REFUSED, ".".join(map(str, since)))
    if cell.machine in KINDS and ORDER.index(cell.second) < ORDER.index(cell.first):
        # It becomes the newest machine type that the first host has, which the other is too old for.
        return Expected(Word.REFUSED, own_machine(cell.machine, qemu[cell.first]))
    return Expected(Word.OK)


def own_machine(kind: str, qemu: Version) -> str:
    """The versioned machine type that ``kind``, pc or q35, is with this QEMU."""
    return KINDS[kind].rpartition("-")[0] + "-" + ".".join(map(str, qemu[:2]))


def as_it_must(word: Word, note: str, must: Expected) -> bool:
    """Whether ``word``, with the reason ``note``, is what must have come of a cell."""
    return word is must.word and must.names in note


# -- which of them ---------------------------------------------------------------------------------------------------

FAST = (
    "run/demo",
    "pair/direct/pre-copy",
    "pair/pump/post-copy/pc-q35-7.2",
    "pair/pump/parallel/pc-q35-7.2",
    "pair/pump/tls/pc-q35-7.2",
    "pair/stream/pre-copy/pc-q35-7.2",
    "libvirtd/tunnelled/pc-q35-7.2",
)


def last_words(pattern: str, output: str) -> str:
    """The last line of ``output`` that has ``pattern``, else its last line that is not empty; '' without any."""
    lines = [line.strip(" =\r") for line in output.splitlines() if line.strip(" =\r")]
    matching = [line for line in lines if re.search(pattern, line)]
    return (matching or lines or [""])[-1]
