"""How far a migration is, in words for people."""

from __future__ import annotations

from culvert.client import Progress
from culvert.ground.units import GiB, KiB, MiB, TiB


def as_text(progress: Progress) -> str:
    """One line."""
    parts = [progress.phase or "migrating"]
    if progress.percent is not None:
        parts.append(f"{progress.percent:.0f} %")
    parts += details(progress)
    return ", ".join(parts)


def details(progress: Progress) -> list[str]:
    """What stands behind the bar, in words."""
    parts = []
    if progress.rate is not None:
        parts.append(f"{size(progress.rate)}/s")
    if progress.dirty_rate is not None:
        parts.append(f"dirty {size(progress.dirty_rate)}/s")
    if progress.remaining is not None:
        left = f"remaining {size(progress.remaining)}"
        if progress.remaining_seconds is not None:
            left += f" ({_time_left(progress, progress.remaining_seconds)})"
        parts.append(left)
    if (expected := progress.predicted_downtime_ms or progress.expected_downtime_ms) is not None:
        parts.append(f"expected downtime {expected} ms")
    if progress.throttle:
        parts.append(f"slowed down by {progress.throttle} %")
    if progress.interruptions:
        parts.append(_interrupted(progress))
    if progress.why_not:
        parts.append(f"will not converge: {progress.why_not}")
    if progress.auto:
        parts.append(f"auto: {progress.auto}")
    return parts


def summary(progress: Progress) -> str:
    """What is worth knowing afterwards; empty when nothing is known."""
    parts = []
    if progress.elapsed_seconds is not None:
        parts.append(f"total time {seconds(progress.elapsed_seconds)}")
    if progress.downtime_ms is not None:
        where = ", ".join(
            f"{name.replace('_', ' ')} {count}" for name, count in (progress.downtime_parts_ms or {}).items() if count
        )
        parts.append(f"downtime {progress.downtime_ms} ms" + (f" ({where})" if where else ""))
    if progress.transferred is not None:
        parts.append(f"transferred {size(progress.transferred)}")
    if progress.iteration:
        parts.append(f"{progress.iteration} iteration{'s' if progress.iteration > 1 else ''}")
    if progress.route is not None:
        more = f", {progress.channels} channels" if (progress.channels or 1) > 1 else ""
        parts.append(f"route {progress.route}{more}")
    if progress.interruptions:
        parts.append(_interrupted(progress))
    return ", ".join(parts)


def size(count: int) -> str:
    """Bytes for people: three figures at least, binary units."""
    for unit, name in ((TiB, "TiB"), (GiB, "GiB"), (MiB, "MiB"), (KiB, "KiB")):
        if count >= unit:
            value = count / unit
            return f"{value:.0f} {name}" if value >= 100 else f"{value:.1f} {name}"
    return f"{count} B"


def seconds(count: float) -> str:
    """Seconds for people."""
    if count < 10:
        return f"{count:.1f} s"
    if count < 60:
        return f"{count:.0f} s"
    minutes, rest = divmod(int(count), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def _time_left(progress: Progress, likely: float) -> str:
    low, high = progress.remaining_seconds_low, progress.remaining_seconds_high
    if low is None:
        return seconds(likely)
    return f"{seconds(likely)}; {seconds(low)} to {seconds(high)}" if high else f"{seconds(likely)}; or more"


def _interrupted(progress: Progress) -> str:
    return f"connected again {progress.interruptions} time{'s' if progress.interruptions != 1 else ''}"
