"""Bar charts as SVG text: a row per case, the median as a bar, the least and the most as a line across. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.spread import Spread

WIDTH = 860
LABELS = 190  # pixels for the names
VALUES = 150  # and for the numbers behind the bars
ROW = 24
TOP = 46
BOTTOM = 34
COLOURS = {"culvert": "#2b6cb0", "libvirt": "#c05621", "qemu": "#4a5568", "ssh": "#718096"}
OTHER = "#2b6cb0"
TINY = 1e-300  # what is less is nothing: a fifth of it may have no power of ten that is not 0


@dataclass(frozen=True, slots=True)
class Row:
    """A case and its values, already in the unit of the chart; without any, ``absent`` tells why."""

    label: str
    spread: Spread | None
    absent: str = ""


def nice(value: float) -> float:
    """The least of 1, 2, 2.5, 5 times a power of ten that is not below ``value``; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-12))


def ticks(most: float) -> list[float]:
    """Four to six marks from 0 on, the last of them not below ``most``."""
    if most < TINY:
        return [0.0, 1.0]
    step = nice(most / 5)
    return [number * step for number in range(math.ceil(most / step - 1e-9) + 1)]


def colour(label: str) -> str:
    """By whose it is: the first word of the case's name."""
    return COLOURS.get(label.split("-", maxsplit=1)[0], OTHER)


def chart(title: str, unit: str, rows: Sequence[Row]) -> str:
    """The picture; a reader without colours loses nothing."""
    marks = ticks(max((row.spread.most for row in rows if row.spread), default=0))
    full = marks[-1]
    height = TOP + ROW * len(rows) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold">{escape(title)}, {escape(unit)}</text>',
    ]
    for mark in marks:
        x = LABELS + length(mark, full)
        parts.append(
            f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{height - BOTTOM}" stroke="#e2e8f0"/>'
            f'<text x="{x:.1f}" y="{height - BOTTOM + 18}" text-anchor="middle" fill="#4a5568">{mark:g}</text>'
        )
    for number, row in enumerate(rows):
        parts.append(_row(row, TOP + ROW * number, full))
    return "\n".join([*parts, "</svg>", ""])


def length(value: float, full: float) -> float:
    """Pixels for ``value`` where ``full`` is the last mark; as a share first, for a mark may be a tiny number."""
    return value / full * (WIDTH - LABELS - VALUES)


def _row(row: Row, y: float, full: float) -> str:
    spread, middle = row.spread, y + ROW / 2
    label = f'<text x="{LABELS - 8}" y="{middle + 4}" text-anchor="end">{escape(row.label)}</text>'
    if spread is None:
        return f'{label}<text x="{LABELS + 8}" y="{middle + 4}" fill="#718096">{escape(row.absent)}</text>'
    left, right = LABELS + length(spread.least, full), LABELS + length(spread.most, full)
    return (
        f"{label}"
        f'<rect x="{LABELS}" y="{y + 4}" width="{max(0.0, length(spread.median, full)):.1f}" height="{ROW - 8}" '
        f'fill="{colour(row.label)}" fill-opacity="0.8"/>'
        f'<line x1="{left:.1f}" y1="{middle}" x2="{right:.1f}" y2="{middle}" stroke="#1a202c"/>'
        f'<text x="{right + 8:.1f}" y="{middle + 4}">{number(spread.median)}</text>'
    )


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"
