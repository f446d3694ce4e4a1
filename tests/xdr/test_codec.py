"""XDR: exact bytes from RFC 4506's rules, round trips of everything, and rubbish that raises only ``XdrError``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.xdr import codec

TEXT = codec.String(100)

# codec, value, encoding: RFC 4506 section in the comment
TABLE: list[tuple[codec.Codec, Any, str]] = [
    (codec.INT, -1, "ffffffff"),  # 4.1
    (codec.UINT, 0x20008086, "20008086"),  # 4.2
    (codec.HYPER, -2, "fffffffffffffffe"),  # 4.5
    (codec.UHYPER, 2**64 - 1, "ffffffffffffffff"),  # 4.5
    (codec.DOUBLE, 1.5, "3ff8000000000000"),  # 4.7
    (codec.FixedOpaque(5), b"abcde", "6162636465 000000"),  # 4.9: padded to a multiple of four
    (codec.FixedOpaque(4), b"abcd", "61626364"),
    (codec.Opaque(9), b"", "00000000"),  # 4.10
    (codec.Opaque(9), b"ab", "00000002 6162 0000"),
    (TEXT, "qemu", "00000004 71656d75"),  # 4.11
    (TEXT, "é", "00000002 c3a9 0000"),  # counted in bytes, not characters
    (codec.Array(codec.INT, 3), [1, 2], "00000002 00000001 00000002"),  # 4.13
    (codec.Optional(TEXT), None, "00000000"),  # 4.19
    (codec.Optional(TEXT), "", "00000001 00000000"),
    (codec.Union({7: TEXT}), (7, "x"), "00000007 00000001 78000000"),  # 4.15
    (codec.Chars(4, fixed=True), "ab", "00000061 00000062 00000000 00000000"),
    (codec.Chars(4, fixed=False), "ab", "00000003 00000061 00000062 00000000"),
]


@pytest.mark.parametrize(("kind", "value", "encoding"), TABLE, ids=lambda item: str(item)[:24])
def test_exact_bytes_both_ways(kind: codec.Codec, value: Any, encoding: str) -> None:
    expected = bytes.fromhex(encoding)
    out = bytearray()
    kind.pack(value, out)
    assert bytes(out) == expected
    assert kind.unpack(expected, 0) == (value, len(expected))


@pytest.mark.parametrize(("kind", "value", "encoding"), TABLE, ids=lambda item: str(item)[:24])
def test_every_prefix_of_an_encoding_is_refused(kind: codec.Codec, value: Any, encoding: str) -> None:
    data = bytes.fromhex(encoding)
    for size in range(len(data)):
        with pytest.raises(codec.XdrError):
            kind.unpack(data[:size], 0)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (codec.INT, 2**31),
        (codec.INT, -(2**31) - 1),
        (codec.UINT, -1),
        (codec.UHYPER, -1),
        (codec.INT, "1"),
        (codec.FixedOpaque(16), b"short"),
        (codec.Opaque(3), b"four"),
        (codec.String(1), "é"),
        (codec.Array(codec.INT, 1), [1, 2]),
        (codec.Chars(3, fixed=True), "abc"),  # no room for the NUL
        (codec.Union({1: codec.INT}), (2, 0)),
    ],
)
def test_values_that_do_not_fit_are_refused(kind: codec.Codec, value: Any) -> None:
    with pytest.raises(codec.XdrError):
        kind.pack(value, bytearray())


@pytest.mark.parametrize(
    ("kind", "encoding", "reason"),
    [
        (codec.Opaque(4), "00000005 6162636465000000", "longer than 4"),
        (codec.String(4), "ffffffff", "longer than 4"),
        (codec.Array(codec.INT, 10), "0000000b", "longer than 10"),
        (codec.Array(codec.INT, 2**20), "00100000", "1048576 elements in 0 bytes"),
        (codec.Chars(4, fixed=False), "00000005", "longer than 4"),
        (codec.Union({1: codec.INT}), "00000009", "unknown union type 9"),
    ],
)
def test_lying_lengths_are_refused_before_anything_is_read(kind: codec.Codec, encoding: str, reason: str) -> None:
    with pytest.raises(codec.XdrError, match=reason):
        kind.unpack(bytes.fromhex(encoding), 0)


@pytest.mark.parametrize("there", ["00000001", "01000000", "00000002", "ffffffff", "80000000"])
def test_a_value_is_there_whatever_else_than_0_says_so(there: str) -> None:
    kind = codec.Optional(TEXT)
    data = bytes.fromhex(f"{there} 00000001 78000000")
    assert kind.unpack(data, 0) == ("x", len(data))
    out = bytearray()
    kind.pack("x", out)
    assert out.startswith(bytes.fromhex("00000001"))


def test_padding_may_hold_anything() -> None:
    assert TEXT.unpack(bytes.fromhex("00000001 78010203"), 0) == ("x", 8)
    assert codec.FixedOpaque(3).unpack(b"abc\xff", 0) == (b"abc", 4)


@pytest.mark.parametrize("data", [b"no\0more", b"no\0", b"no"])
def test_text_ends_at_its_first_nul(data: bytes) -> None:
    out = bytearray()
    codec.Opaque(100).pack(data, out)
    assert TEXT.unpack(out, 0) == ("no", len(out))


def test_text_that_is_not_utf8_survives_a_round_trip() -> None:
    data = bytes.fromhex("00000003 ff80fe 00")
    value, _ = TEXT.unpack(data, 0)
    out = bytearray()
    TEXT.pack(value, out)
    assert bytes(out) == data


def test_types_in_words() -> None:
    kinds = [kind for kind, _, _ in TABLE]
    assert sorted({str(kind) for kind in kinds}) == [
        "7: string",
        "char<4>",
        "char[4]",
        "double",
        "hyper",
        "int",
        "int<3>",
        "opaque<9>",
        "opaque[4]",
        "opaque[5]",
        "string",
        "string?",
        "unsigned hyper",
        "unsigned int",
    ]


clean_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=25)
SHAPES: list[tuple[codec.Codec, st.SearchStrategy[Any]]] = [
    (codec.INT, st.integers(-(2**31), 2**31 - 1)),
    (codec.UINT, st.integers(0, 2**32 - 1)),
    (codec.HYPER, st.integers(-(2**63), 2**63 - 1)),
    (codec.UHYPER, st.integers(0, 2**64 - 1)),
    (codec.DOUBLE, st.floats(allow_nan=False)),
    (codec.FixedOpaque(7), st.binary(min_size=7, max_size=7)),
    (codec.Opaque(50), st.binary(max_size=50)),
    (TEXT, clean_texts),
    (codec.Optional(TEXT), st.none() | clean_texts),
    (codec.Array(codec.Optional(codec.HYPER), 9), st.lists(st.none() | st.integers(-9, 9), max_size=9)),
    (
        codec.Union({1: codec.INT, 7: TEXT}),
        st.tuples(st.just(1), st.integers(-9, 9)) | st.tuples(st.just(7), clean_texts),
    ),
]


@given(st.data(), st.sampled_from(range(len(SHAPES))), st.binary(max_size=5), st.binary(max_size=5))
def test_what_is_packed_is_unpacked_wherever_it_stands(
    data: st.DataObject, index: int, before: bytes, after: bytes
) -> None:
    kind, values = SHAPES[index]
    value = data.draw(values)
    out = bytearray(before)
    kind.pack(value, out)
    assert (len(out) - len(before)) % 4 == 0
    end = len(out)
    assert kind.unpack(memoryview(bytes(out) + after), len(before)) == (value, end)


@given(st.sampled_from(range(len(SHAPES))), st.binary(max_size=64))
def test_rubbish_raises_nothing_but_xdr_errors(index: int, rubbish: bytes) -> None:
    kind, _ = SHAPES[index]
    try:
        _, end = kind.unpack(rubbish, 0)
    except codec.XdrError:
        return
    assert end <= len(rubbish)
