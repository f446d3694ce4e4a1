"""Any definition the tables can describe: hypothesis strategies made from the binding tables themselves."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import strategies as st

from culvert.domain import binding, scalars
from culvert.domain.network.addresses import AddressScalar

# What XML 1.0 can carry: no control characters but tab, newline and return, no surrogates, no non-characters.
CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff") | st.sampled_from(
    "\t\n\r"
)

FEW = 3  # rows of a table that is small

METADATA = st.none() | st.sampled_from(
    [
        "",
        '    <a:x xmlns:a="http://a/"/>',
        '    <a:x xmlns:a="http://a/">\n      <a:y z="1">t &amp; u</a:y>\n    </a:x>',
        '    <one xmlns="urn:1">line\nline</one>\n    <two xmlns="urn:2"/>',
    ]
)


def _pattern(scalar: scalars.Pattern) -> st.SearchStrategy[str]:
    texts = st.from_regex(scalar.form, fullmatch=True, alphabet=CHARACTERS)
    return texts.map(str.lower) if scalar.lower else texts


def values(scalar: scalars.Scalar) -> st.SearchStrategy[Any]:
    """Values that ``scalar`` writes and reads."""
    made: st.SearchStrategy[Any]
    match scalar:
        case scalars.Text(empty=empty):
            made = st.text(CHARACTERS, min_size=0 if empty else 1, max_size=20)
        case scalars.Integer(low=low, high=high):
            made = st.integers(low, high)
        case scalars.WordScalar(words=words):
            made = st.sampled_from(words)
        case scalars.Switch():
            made = st.booleans()
        case scalars.Pattern():
            made = _pattern(scalar)
        case scalars.CpuSet():
            made = st.frozensets(st.integers(0, 300), min_size=1, max_size=9)
        case scalars.Uuid():
            made = st.uuids().map(str)
        case AddressScalar():
            made = st.ip_addresses().map(str).filter(lambda text: "%" not in text)
        case _:
            raise TypeError(f"no strategy for {scalar!r}")
    return made


def bound(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Instances of a bound class, with everything that is optional there or not."""
    fields = {}
    for row in binding.table(cls):
        fields[row.field] = _field(row)
    return st.builds(cls, **fields).map(_text_or_children)


def _text_or_children(value: Any) -> Any:
    """An element has a text of its own, or elements in it."""
    rows = {row.binding.kind: row for row in binding.table(type(value))}
    if "content" not in rows or getattr(value, rows["content"].field) is None or "child" not in rows:
        return value
    told = {row.field: None for row in binding.table(type(value)) if row.binding.kind in ("child", "lone")}
    return dataclasses.replace(value, **told)


def _is_hollow(value: Any, field: str) -> bool:
    return value == type(value)() if field == binding.ANY else getattr(value, field) is None


def _field(row: binding.Row) -> st.SearchStrategy[Any]:
    one = row.binding
    match one.kind:
        case "flag":
            return st.booleans()
        case "children":
            # Of what has much to say one is enough: a domain has a hundred kinds of elements by now.
            most = 2 if len(binding.table(one.classes()[""])) <= FEW else 1
            return st.lists(st.deferred(lambda: bound(one.classes()[""])), max_size=most).map(tuple)
        case "again":
            return st.none()  # only where the first one is there
        case "child":
            there: st.SearchStrategy[Any] = st.deferred(lambda: bound(one.classes()[""])).filter(
                lambda value: not one.hollow or not _is_hollow(value, one.hollow)
            )
        case "variant":
            there = st.one_of([bound(cls) for cls in one.classes().values()])
        case "amount" | "sized":
            there = st.integers(0, 2**40)
        case "verbatim":
            return METADATA
        case _:
            there = values(one.scalar).filter(lambda value: one.scalar.write(value) not in one.silent)
    return st.none() | there if row.optional else there
