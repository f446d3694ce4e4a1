"""What the guest that moves does meanwhile, and what its memory holds."""

from __future__ import annotations

from dataclasses import dataclass

from guests import tiny

HZ = 250  # lines a second: a silence is known to 1 / HZ, and to what the reader of the lines adds
DEFAULT_MIB = 1600
NEVER = 1e6  # seconds for a pass of verification: a guest that does little but print


@dataclass(frozen=True, slots=True)
class Workload:
    """``share``: of the memory of the whole run; ``working_set``: of the guest's.

    ``touch``: one word of a page is rewritten, not all. ``limit_ms``: QEMU's downtime-limit.
    """

    name: str
    what: str
    share: float = 1.0
    fill: str = "sequence"
    working_set: float = 0.0
    dirty_mib_s: float = 0
    touch: bool = False
    limit_ms: int = 300

    def parameters(self, memory_mib: int) -> tiny.TinyParameters:
        """The guest for a run with so much memory."""
        mib = round(memory_mib * self.share)
        return tiny.TinyParameters(
            mib=mib,
            dirty_mib=round(mib * self.working_set),
            dirty_mib_s=self.dirty_mib_s,
            pass_s=NEVER,
            hz=HZ,
            fill=self.fill,
            touch=self.touch,
        )


WORKLOADS = (
    Workload("incompressible", "idle, full of what cannot be compressed"),
    # Without a limit on downtime that is well below the usual one, QEMU's own share hides what a mover adds.
    Workload("brief", "as incompressible, a quarter of the memory, to stop for 20 ms at most", 0.25, limit_ms=20),
    Workload("zeros", "idle, full of zeros", fill="zeros"),
    Workload("text", "idle, full of letters that compress 3 : 1", fill="text"),
    # The limit on downtime grows with the rate: with one of 300 ms no mover would ever finish the last of them here.
    Workload("dirty-50", "rewrites a third of its memory at 50 MiB/s", 0.5, working_set=1 / 3, dirty_mib_s=50),
    Workload(
        "dirty-150",
        "rewrites a third of its memory at 150 MiB/s",
        0.5,
        working_set=1 / 3,
        dirty_mib_s=150,
        limit_ms=1000,
    ),
    Workload(
        "dirty-300",
        "rewrites a third of its memory at 300 MiB/s",
        0.5,
        working_set=1 / 3,
        dirty_mib_s=300,
        limit_ms=2000,
    ),
)
