"""JSON of others: what is read, and that nothing is too deep to be refused in words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(VALUES)
def test_what_is_written_is_read(value: object) -> None:
    assert json_text.read(json.dumps(value)) == value


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_is_bounded_exactly(opening: str, closing: str) -> None:
    levels = opening.count("[") + opening.count("{")
    times = json_text.MAX_DEPTH // levels
    text = opening * times + "1" + closing * times
    assert json.dumps(json_text.read(text), separators=(",", ":")) == text
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        json_text.read(f"[{text}]")
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        json_text.read(f'[[], "]", {text}]')


@pytest.mark.parametrize("times", [65, 500, 900, 990, 1_000, 10_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_harmless_and_deep(times: int, opening: str, closing: str) -> None:
    with pytest.raises(ValueError, match="nested deeper"):
        json_text.read(opening * times + "1" + closing * times)


def test_many_brackets_that_are_not_deep() -> None:
    assert json_text.read(json.dumps(["[{" * 1000, [[]] * 1000])) == ["[{" * 1000, [[]] * 1000]


@pytest.mark.parametrize("text", ["", "[", "{]", "x", "1 2", "1" * 5000])
def test_what_is_not_json(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each in Python's own words
        json_text.read(text)
