"""Structs: fields in order, nesting, and what is not a struct."""

from __future__ import annotations

import copy
import dataclasses
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.xdr import codec
from culvert.xdr.struct import Int, UHyper, UInt, Void, codec_of, decode, encode, listed, maybe, struct

Name = Annotated[str, codec.String(20)]


@struct
class Point:
    x: Int
    y: Int


@struct
class Drawing:
    name: Name
    points: Annotated[list[Point], listed(Point, 4)]
    origin: Annotated[Point | None, maybe(Point)]
    size: UHyper


def test_fields_are_encoded_in_order() -> None:
    drawing = Drawing(name="ab", points=[Point(1, -1)], origin=None, size=5)
    data = bytes.fromhex(
        "00000002 61620000"  # name: length, text, padding
        "00000001 00000001 ffffffff"  # points: count, x, y
        "00000000"  # origin: absent
        "0000000000000005"  # size
    )
    assert encode(drawing) == data
    assert decode(Drawing, data) == drawing


def test_bytes_behind_the_struct_are_ignored() -> None:
    assert decode(Point, encode(Point(1, 2)) + b"more") == Point(1, 2)


def test_void_is_nothing() -> None:
    assert encode(Void()) == b""
    assert decode(Void, b"") == Void()


def test_instances_are_values() -> None:
    point = Point(1, 2)
    assert point == Point(1, 2)
    assert hash(point) == hash(Point(1, 2))
    assert point != Point(1, 3)
    others: list[object] = [One(1), (1, 2)]
    assert point not in others
    assert repr(point) == "Point(x=1, y=2)"
    assert dataclasses.replace(point, x=3) == Point(x=3, y=2)
    assert copy.deepcopy(point) == point
    assert dataclasses.asdict(point) == {"x": 1, "y": 2}
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 3  # type: ignore[misc]  # that it is refused is the test
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x
    assert not hasattr(point, "__dict__")
    for wrong in ((1,), (1, 2, 3)):
        with pytest.raises(TypeError):
            Point(*wrong)


def test_a_type_without_codec_is_refused_when_it_is_first_used() -> None:
    @struct
    class Wrong:
        field: int

    with pytest.raises(TypeError, match="has no XDR codec"):
        encode(Wrong(1))


def test_a_value_of_the_wrong_size_says_so() -> None:
    with pytest.raises(codec.XdrError, match="unsigned int"):
        encode(One(value=-1))


@struct
class One:
    value: UInt


def test_members_tell_name_and_type() -> None:
    of_drawing = codec_of(Drawing)
    assert isinstance(of_drawing, codec.Fields)
    assert [(name, str(kind)) for name, kind in of_drawing.members()] == [
        ("name", "string"),
        ("points", "Point<4>"),
        ("origin", "Point?"),
        ("size", "unsigned hyper"),
    ]


numbers = st.integers(-(2**31), 2**31 - 1)
points = st.builds(Point, numbers, numbers)


@given(
    st.builds(
        Drawing,
        name=st.text("abcdé", max_size=10),
        points=st.lists(points, max_size=4),
        origin=st.none() | points,
        size=st.integers(0, 2**64 - 1),
    )
)
def test_round_trip(drawing: Drawing) -> None:
    assert decode(Drawing, encode(drawing)) == drawing


@given(st.binary(max_size=80))
def test_rubbish_raises_nothing_but_xdr_errors(rubbish: bytes) -> None:
    try:
        decoded = decode(Drawing, rubbish)
    except codec.XdrError:
        return
    assert decode(Drawing, encode(decoded)) == decoded
