"""Charts are XML, and what they show is what was given."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks import spread, svg

_TEXT = "{http://www.w3.org/2000/svg}text"


@example({"tiny": [1.1125369292536007e-308]})
@example({"tiniest": [5e-324]})
@given(st.dictionaries(st.text("abc<>&\"'-", min_size=1), st.lists(st.floats(0, 1e12), min_size=1, max_size=5)))
def test_whatever_it_shows_is_well_formed_and_inside(given_rows: dict[str, list[float]]) -> None:
    rows = [svg.Row(label, spread.of(values)) for label, values in given_rows.items()]
    root = ET.fromstring(svg.chart("a & b", "<s>", rows))
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    for element in root.iter():
        for name, most in (("x", width), ("x1", width), ("x2", width), ("y", height), ("y1", height), ("y2", height)):
            if name in element.attrib:
                assert 0 <= float(element.attrib[name]) <= most
    assert [label for label in given_rows if label not in {each.text for each in root.iter(_TEXT)}] == []


@pytest.mark.parametrize(("value", "wanted"), [(0, 1), (0.03, 0.05), (1, 1), (2.1, 2.5), (7, 10), (200, 200)])
def test_nice_numbers(value: float, wanted: float) -> None:
    assert svg.nice(value) == pytest.approx(wanted)


@given(st.floats(1e-9, 1e15))
def test_marks_reach_the_largest_value_and_are_few(most: float) -> None:
    marks = svg.ticks(most)
    assert marks[0] == 0
    assert marks[-1] >= most * (1 - 1e-6)
    assert len(marks) <= 7


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(0, "0"), (0.0431, "0.0431"), (1.234, "1.23"), (12.34, "12.3"), (1603.4, "1,603"), (math.inf, "inf")],
)
def test_three_digits(value: float, wanted: str) -> None:
    assert svg.number(value) == wanted
