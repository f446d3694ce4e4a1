"""Values of any row's arguments and results, for properties: built from the codecs themselves."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from culvert.xdr import codec

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
_NUMBERS = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "unsigned int": st.integers(0, 2**32 - 1),
    "hyper": st.integers(-(2**63), 2**63 - 1),
    "unsigned hyper": st.integers(0, 2**64 - 1),
    "double": st.floats(allow_nan=False),
}


def values(kind: codec.Codec) -> st.SearchStrategy[Any]:
    """Values that ``kind`` can hold."""
    found: st.SearchStrategy[Any]
    match kind:
        case codec.Number():
            found = _NUMBERS[str(kind)]
        case codec.String():
            found = _TEXT
        case codec.FixedOpaque():
            found = st.binary(min_size=kind.size, max_size=kind.size)
        case codec.Opaque():
            found = st.binary(max_size=9)
        case codec.Chars():
            found = st.text("abc", max_size=5)
        case codec.Array():
            found = st.lists(values(kind.element), max_size=3)
        case codec.Optional():
            found = st.none() | values(kind.element)
        case codec.Union():
            found = st.one_of([st.tuples(st.just(number), values(arm)) for number, arm in kind.arms.items()])
        case codec.Fields():
            members = [values(member) for _, member in kind.members()]
            found = st.tuples(*members).map(lambda parts: kind.make(*parts))
        case _:
            raise TypeError(f"no values for {kind}")
    return found
