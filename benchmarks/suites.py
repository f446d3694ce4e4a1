"""All there is to measure, as cells."""

from __future__ import annotations

from functools import partial
from itertools import product

from benchmarks import cut, micro_codec, micro_route, micro_rpc, micro_stream, move, scale, ten
from benchmarks.movers import MOVERS
from benchmarks.plan import Cell
from benchmarks.workloads import WORKLOADS

TEN = {"culvert-tls-1": "culvert", "libvirt-tunnelled-tls": "libvirt"}
ASKED = ("culvert-pump", "culvert-pump-2", "culvert-tls-2", "libvirt-tunnelled")


def cells() -> list[Cell]:
    """Every cell of every suite."""
    return [*moves(), *cuts(), *scales(), *micros()]


def moves() -> list[Cell]:
    """Every mover with every workload that it is meant for; the case is WORKLOAD/MOVER."""
    return [
        Cell(
            "move",
            f"{workload.name}/{mover.name}",
            partial(move.measure, mover=mover, workload=workload),
            stage=mover.stage,
        )
        for workload in WORKLOADS
        for mover in MOVERS
        if not mover.workloads or workload.name in mover.workloads
    ]


def cuts() -> list[Cell]:
    """The pump's move, whole and with ten seconds without a road."""
    return [Cell("cut", how, partial(cut.measure, how=how), stage="culvert") for how in cut.WAYS]


def scales() -> list[Cell]:
    """Fifty guests at once by each route; the state of a guest asked for while it moves."""
    fifty = {"stream": "?route=stream", "direct": "?route=direct", "pump": "?route=pump"}
    return [
        *(
            Cell("fifty", name, partial(scale.fifty, way=("--tunnelled", query)), stage="culvert", most=3)
            for name, query in fifty.items()
        ),
        *(Cell("ten", name, partial(ten.measure, mover=name), stage=stage, most=3) for name, stage in TEN.items()),
        *(
            Cell("asked", mover.name, partial(scale.asked, mover=mover.name), stage=mover.stage)
            for mover in MOVERS
            if mover.name in ASKED
        ),
    ]


def micros() -> list[Cell]:
    """Calls, codec, and the routes without QEMU."""
    return [
        *(
            Cell(
                "rpc",
                f"{call}/{by}/{daemon}",
                partial(micro_rpc.measure, daemon=daemon, call=call, by=by),
                stage=daemon,
            )
            for call, by, daemon in product(micro_rpc.CALLS, micro_rpc.CLIENTS, micro_rpc.DAEMONS)
        ),
        *(Cell("codec", body, partial(micro_codec.measure, body=body)) for body in micro_codec.BODIES),
        *(Cell("route", route, partial(micro_stream.measure, route=route)) for route in micro_stream.ROUTES),
        *(
            Cell(
                "route",
                f"pump-{security}-{channels}/{workers}",
                partial(micro_route.measure, workers=workers, security=security, channels=channels),
            )
            for security, channels, workers in product(
                micro_route.SECURITY, micro_route.CHANNELS, micro_route.WORKERS
            )
        ),
    ]
