"""What it costs to write and read the bodies of packets: three of kinds that a migration and a poller make."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.lab import Lab
from culvert.protocol import remote_list, shapes, types
from culvert.xdr.struct import decode, encode

SECONDS = 0.5
_DOMAIN = types.Domain("a-guest-of-ordinary-name", bytes(range(16)), 7)
_PARAMETERS = [
    types.TypedParam(f"memory_{name}", (int(types.TypedParamType.ULLONG), number << 20))
    for number, name in enumerate(("total", "processed", "remaining", "constant", "normal", "bps", "dirty_rate"))
]
BODIES = {
    "domain-and-flags": shapes.DomainFlagsArgs(_DOMAIN, 0),
    "stats-record": types.DomainStatsRecord(_DOMAIN, _PARAMETERS * 4),
    "domain-xml-64k": remote_list.NameArgs("x" * 65536),
}


def measure(_: Lab, body: str) -> dict[str, float]:
    """Encode and decode one of ``BODIES`` for a while."""
    value = BODIES[body]
    data = encode(value)
    assert decode(type(value), data) == value
    writes, reads = _rate(lambda: encode(value)), _rate(lambda: decode(type(value), data))
    return {
        "encoded_per_s": writes,
        "decoded_per_s": reads,
        "encoded_mib_s": writes * len(data) / (1 << 20),
        "decoded_mib_s": reads * len(data) / (1 << 20),
        "body_bytes": len(data),
    }


def _rate(work: Callable[[], object]) -> float:
    done, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < SECONDS:
        for _ in range(100):
            work()
        done += 100
    return done / passed
