"""The hardened reader and the writer."""

from __future__ import annotations

import pytest

from culvert.domain import xml
from culvert.ground import errors

ENTITY_BOMB = """<!DOCTYPE domain [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<domain><name>&b;</name></domain>"""

EXTERNAL = '<!DOCTYPE domain [<!ENTITY x SYSTEM "file:///etc/passwd">]><domain><name>&x;</name></domain>'


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "cannot be read"),
        ("<domain>", "cannot be read"),
        ("<domain/><domain/>", "cannot be read"),
        ("<domain><name>\x00</name></domain>", "cannot be read"),
        ("<domain>&nothing;</domain>", "cannot be read"),
        ("<domain>\ud800</domain>", "not valid Unicode"),
        (ENTITY_BOMB, "document type"),
        (EXTERNAL, "document type"),
        ("<a>" * 65 + "</a>" * 65, "nested more than 64 deep"),
        ("<a>" * 5000 + "</a>" * 5000, "cannot be read"),
        (f"<a>{'<b/>' * xml.MAX_ELEMENTS}</a>", "more than 100000 elements"),
        (f"<a>{' ' * xml.MAX_BYTES}</a>", "at most 4194304"),
    ],
    ids=lambda value: str(value)[:24].encode("unicode_escape").decode(),
)
def test_refuses(text: str, what: str) -> None:
    with pytest.raises(errors.XMLError, match=what):
        xml.read(text)


def test_an_encoding_declaration_does_not_matter() -> None:
    assert xml.read('<?xml version="1.0" encoding="latin-1"?><a>\u00e4</a>').text == "\u00e4"


def test_comments_and_instructions_are_passed_over() -> None:
    root = xml.read("<a>x<!-- no --><?also no?>y</a>")
    assert (len(root), root.text) == (0, "xy")


def test_layout_is_that_of_libvirt() -> None:
    node = xml.Node("a", {"k": "it's"}, children=[xml.Node("b", text="<&>"), xml.Node("c", {"n": "1\n2"})])
    assert xml.render(node) == "<a k='it&apos;s'>\n  <b>&lt;&amp;&gt;</b>\n  <c n='1&#10;2'/>\n</a>\n"


def test_more_attributes_than_any_element_has_are_refused_before_they_are_compared() -> None:
    """libxml2 takes time by the square of their number."""
    for quote in "'\"":
        attributes = " ".join(f"a{number}={quote}>{quote}" for number in range(200_000))
        with pytest.raises(errors.XMLError, match="attributes"):
            xml.read(f"<domain>\n<x\n{attributes}/></domain>")
    assert xml.read(f"<a b='{'=' * 5000}'>{'=' * 5000}</a>").get("b") == "=" * 5000


def test_more_elements_than_are_read_are_refused_before_they_are_made() -> None:
    with pytest.raises(errors.XMLError, match="elements"):
        xml.read("<a>" + "<b/>" * 900_000 + "</a>")
