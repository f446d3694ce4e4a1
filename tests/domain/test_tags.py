"""Words that people put on a guest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from culvert.domain import metadata, parse, tags

XML = "<domain type='qemu'><name>g</name><memory>1024</memory><os><type>hvm</type></os></domain>"


@pytest.mark.parametrize(
    ("markup", "found"),
    [
        ("<tags>tenant=blue  web</tags>", {"tenant=blue", "web"}),
        ("<tags><tag>a</tag> <tag>b</tag></tags>", {"a", "b"}),
        ("<tags/>", set()),
    ],
)
def test_the_words_of_the_element(markup: str, found: set[str]) -> None:
    definition = metadata.with_element(parse.parse(XML), tags.NAMESPACE, "culvert", markup)
    assert tags.of(definition) == found


def test_another_s_metadata_says_nothing() -> None:
    definition = metadata.with_element(parse.parse(XML), "urn:other", "o", "<tags>tenant=blue</tags>")
    assert tags.of(definition) == tags.of(replace(definition, metadata=None)) == frozenset()
