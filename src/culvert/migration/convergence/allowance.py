"""How long a guest may stand still at the end of its migration: what a person allows, and what is tried first.

QEMU ends pre-copy as soon as what is left fits into ``downtime-limit``, be it in its first round, although one more
short round might make a tenth of that. So a migration that has somebody who raises the limit (``policy``) begins with
``policy.BRIEF``. What the person allows is kept beside the domain meanwhile, and outlives the daemon.
"""

from __future__ import annotations

from culvert.hypervisor.contract import Guest
from culvert.migration.convergence import policy
from culvert.migration.progress.progress import Course

_MOST = "migration.downtime"  # annotation: ms that a person allows, where QEMU has been told less


async def begin(domain: Guest, course: Course, *, brief: bool) -> None:
    """Tell QEMU, before it sends, and ``course``. ``brief``: there is somebody who raises it."""
    said = await domain.hypervisor.max_downtime()
    most = int(domain.annotations.get(_MOST, said))
    first = min(most, round(1000 * policy.BRIEF)) if brief else most
    if first != said:
        await domain.annotate(_MOST, str(most) if first < most else "")
        await domain.hypervisor.set_max_downtime(first)
    course.limit, course.most = first / 1000, most / 1000


async def most(domain: Guest) -> int:
    """What a person allows, in milliseconds."""
    kept = domain.annotations.get(_MOST)
    return await domain.hypervisor.max_downtime() if kept is None else int(kept)


async def allow(domain: Guest, milliseconds: int, course: Course | None) -> None:
    """A person allows so much: obeyed at once, also by the migration whose ``course`` that is. Raises QEMU's refusal;
    then nothing has changed."""
    await domain.hypervisor.set_max_downtime(milliseconds)
    if _MOST in domain.annotations:
        await domain.annotate(_MOST, "")
    if course is not None:
        course.limit = course.most = milliseconds / 1000
