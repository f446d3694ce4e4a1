"""Which of QEMU's ways of migrating go together, by QEMU's version and by the route; pure.

Everything that is refused here is refused before anything has happened, with the reason. Sources are named with each
row; where QEMU has a version from which on it can, the row has it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from culvert.channels.route import Route
from culvert.ground import errors
from culvert.migration.options.parameters import Options
from culvert.protocol.constants_migrate import MigrateFlag

PREEMPT_ABILITY = "preempt"
"""In a peer's HELLO: it understands the parameter that asks for ``postcopy-preempt``."""

OPTIONAL_ABILITY = "postcopy-or-parallel"
"""In a peer's HELLO: it understands the parameters that let it prepare without post-copy where it cannot have it, and
with several channels instead."""

Version = int
"""major × 1,000,000 + minor × 1,000 + micro, as virConnectGetVersion has it; 0 where it is not known."""


@dataclass(frozen=True, slots=True)
class Rule:
    """``together`` cannot be had, or only ``since`` a version of the QEMUs at both ends, ``because`` of that."""

    together: frozenset[str]
    because: str
    since: Version | None = None


def _version(major: int, minor: int) -> Version:
    return major * 1_000_000 + minor * 1_000


def spoken(version: Version) -> str:
    """As people write it."""
    return f"{version // 1_000_000}.{version // 1_000 % 1_000}.{version % 1_000}"


_PREEMPT = _version(7, 2)

KEEPS_PAGES = _version(9, 0)
"""QEMU loses pages of a guest under TCG no more ("physmem: Fix migration dirty bitmap coherency with TCG memory
access")."""

LOSES_ARMED = _version(11, 1)
"""From here on QEMU loses writes of a guest under TCG as soon as post-copy is allowed, also where it is never
switched to (seen with 11.1.3: findings/qemu-11.1-postcopy-pages.sh)."""

# The names are those of virsh's options where it has one.
RULES = (
    # migration/options.c, migrate_caps_check: "Postcopy is not yet compatible with multifd", until 10.1.
    Rule(frozenset({"--postcopy", "--parallel"}), "QEMU can do both at once only from 10.1 on", _version(10, 1)),
    # qapi/migration.json, MigrationCapability: "since 7.2" after its mending, "7.1" as an experiment.
    Rule(frozenset({"preempt"}), "QEMU has postcopy-preempt from 7.2 on", _PREEMPT),
    # qemu/qemu_migration.c, qemuMigrationSrcBeginPhase.
    Rule(frozenset({"--postcopy", "--suspend"}), "a guest that is not to run there would never ask for its memory"),
    Rule(frozenset({"--postcopy", "no --live"}), "post-copy is not supported with non-live migration"),
    Rule(frozenset({"--postcopy", "--offline"}), "there is no memory to move"),
    # migration/ram.c, ram_save_multifd_page: it looks at no xbzrle cache.
    Rule(
        frozenset({"xbzrle", "--parallel"}), "QEMU compresses parallel connections by zlib or zstd (--comp-methods)"
    ),
    # multifd-compression is multifd's.
    Rule(frozenset({"zlib", "no --parallel"}), "QEMU compresses so only parallel connections (--parallel)"),
    Rule(frozenset({"zstd", "no --parallel"}), "QEMU compresses so only parallel connections (--parallel)"),
    Rule(frozenset({"zlib", "zstd"}), "QEMU compresses all connections alike"),
    # The pages that the destination asks for need a way back (migration/postcopy-ram.c).
    Rule(
        frozenset({"--postcopy", "route stream"}),
        "the destination's QEMU must be able to ask for pages, and this route goes one way only; a culvert at the "
        "other end has the routes direct and pump, and a libvirtd takes post-copy only without a tunnel",
    ),
)


def features(options: Options, route: Route | None = None) -> frozenset[str]:
    """What ``options`` ask for, in the words of ``RULES``; ``route`` where it is known."""
    connections = options.connections > 0
    have = {
        "--postcopy": options.postcopy,
        "--parallel": connections,
        "no --parallel": not connections,
        "--suspend": options.has(MigrateFlag.PAUSED),
        "no --live": not options.has(MigrateFlag.LIVE),
        "--offline": options.has(MigrateFlag.OFFLINE),
        "--auto-converge": options.has(MigrateFlag.AUTO_CONVERGE),
        "xbzrle": options.xbzrle,
        "zlib": "zlib" in options.compression,
        "zstd": "zstd" in options.compression,
        "preempt": options.preempt,
        f"route {route.value}" if route is not None else "": route is not None,
    }
    return frozenset(name for name, there in have.items() if there)


def refusals(asked: frozenset[str], *, source: Version, destination: Version = 0) -> list[str]:
    """Why what is asked for cannot be had together; empty when it can. An unknown version (0) is no reason."""
    found = []
    for rule in RULES:
        if not rule.together <= asked:
            continue
        old = [
            f"QEMU {spoken(version)} at the {side}"
            for side, version in (("source", source), ("destination", destination))
            if rule.since is not None and 0 < version < rule.since
        ]
        if rule.since is None or old:
            at = f" (here: {', '.join(old)})" if old else ""
            what = " and ".join(sorted(rule.together))
            together = " together" if len(rule.together) > 1 else ""
            found.append(f"{what} cannot be had{together}: {rule.because}{at}")
    return found


def check(options: Options, *, source: Version, destination: Version = 0, route: Route | None = None) -> None:
    """Raises ``ArgumentUnsupported`` with every reason why ``options`` cannot be had; nothing has happened then."""
    if found := refusals(features(options, route), source=source, destination=destination):
        raise errors.ArgumentUnsupported(f"{'; '.join(found)}; nothing was changed")


def can_preempt(options: Options, version: Version) -> bool:
    """Whether a QEMU of that version can have ``postcopy-preempt`` in a migration by ``options``."""
    return options.postcopy and not options.connections and version >= _PREEMPT


def agree(
    options: Options, route: Route, abilities: Collection[str], *, source: Version, destination: Version = 0
) -> Options:
    """``options`` for this route to this peer, ``preempt`` added where both sides have it; raises as ``check``.

    The channel for preempted pages wants a way of several channels: given one descriptor, as by route direct,
    QEMU 7.2 fails with "Postcopy preempt is not supported as current migration stream does not support
    multi-channels".
    """
    preempt = route is Route.PUMP and PREEMPT_ABILITY in abilities
    settled = replace(options, preempt=preempt and can_preempt(options, min(source, destination)))
    check(settled, source=source, destination=destination, route=route)
    return settled
