"""Elements that programs keep below ``<metadata>``: put in, found again, taken out, nothing else touched."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.domain import binding, metadata, xml
from culvert.domain.definition import DomainDef
from culvert.domain.platform import Os, OsType
from culvert.ground import errors

PLAIN = DomainDef(type="qemu", name="g", memory=1024, os=Os(type=OsType(name="hvm")))
A, B = "http://a.example/", "http://b.example/"

NAMES = st.sampled_from(["note", "item", "x"])
TEXT = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8)
MARKUP = st.recursive(
    st.builds("<{0}>{1}</{0}>".format, NAMES, TEXT) | st.builds("<{0}/>".format, NAMES),
    lambda inner: st.builds("<{0}>{1}</{0}>".format, NAMES, st.lists(inner, min_size=1, max_size=3).map("".join)),
    max_leaves=6,
)


def test_there_is_nothing_at_first() -> None:
    assert metadata.element(PLAIN, A) is None
    assert metadata.with_element(PLAIN, A, None, None) == PLAIN


@given(MARKUP, MARKUP)
def test_what_is_put_in_is_found_and_goes_alone(first: str, second: str) -> None:
    both = metadata.with_element(metadata.with_element(PLAIN, A, "a", first), B, "b", second)
    for uri, markup in ((A, first), (B, second)):
        found = metadata.element(both, uri)
        assert found is not None
        assert found.replace("\n", "").replace(" ", "") == markup
    written = xml.read(xml.render(binding.write(both, "domain")))
    assert binding.read(DomainDef, written, "/domain") == both
    assert metadata.element(metadata.with_element(both, A, None, None), A) is None
    assert metadata.element(metadata.with_element(both, A, None, None), B) == metadata.element(both, B)


def test_text_beside_elements_is_left_as_it_is() -> None:
    markup = "<p>one <b>two</b> three</p>"
    assert metadata.element(metadata.with_element(PLAIN, A, "a", markup), A) == markup


def test_the_same_namespace_is_replaced() -> None:
    twice = metadata.with_element(metadata.with_element(PLAIN, A, "a", "<x/>"), A, "a", "<y/>")
    assert metadata.element(twice, A) == "<y/>"
    assert metadata.with_element(twice, A, None, None) == replace(PLAIN, metadata=None)


@pytest.mark.parametrize("markup", ["", "text", "<open>", "<!DOCTYPE a []><a/>"])
def test_what_is_no_element_is_refused(markup: str) -> None:
    with pytest.raises(errors.XMLError):
        metadata.with_element(PLAIN, A, "a", markup)
