"""What is compared in the worst case: a row for each way of moving a guest that does not stop writing.

Sources: virsh(1), ``migrate``; ``culvert migrate --help``.
"""

from __future__ import annotations

import math

from benchmarks.movers import Mover
from benchmarks.workloads import Workload

AUTO = "culvert-auto"
POST_COPY = "culvert-post-copy"
MODES = (
    Mover("culvert-pre-copy", "culvertd, virsh --tunnelled", "culvert", ("--tunnelled",)),
    Mover(
        "culvert-auto-converge",
        "culvertd, virsh --tunnelled --auto-converge",
        "culvert",
        ("--tunnelled", "--auto-converge"),
    ),
    Mover(
        POST_COPY,
        "culvertd, virsh --tunnelled --postcopy --postcopy-after-precopy",
        "culvert",
        ("--tunnelled", "--postcopy", "--postcopy-after-precopy"),
    ),
    Mover(AUTO, "culvertd, culvert migrate --auto", "culvert", ("auto",)),
    Mover("libvirt-tunnelled", "libvirtd 9.0, virsh --tunnelled", "libvirt", ("--tunnelled",)),
    Mover("libvirt-native", "libvirtd 9.0, virsh alone", "libvirt"),
)

_WORKING_SET = 0.6
RATES = (
    Workload("idle", "idle"),
    *(
        Workload(
            f"dirty-{rate}",
            f"touches 60 % of its pages in turn, {rate} MiB/s of them",
            working_set=_WORKING_SET,
            dirty_mib_s=rate,
            touch=True,
        )
        for rate in (50, 150, 300)
    ),
    Workload(
        "dirty-max",
        "touches 60 % of its pages as fast as it can",
        working_set=_WORKING_SET,
        dirty_mib_s=math.inf,
        touch=True,
    ),
)
MODERATE = ("idle", "dirty-50")  # of RATES: where a prediction has to hold
