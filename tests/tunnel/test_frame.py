"""Frames: every legal one is read as it was written, everything else is a violation."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground import errors
from culvert.tunnel import frame
from culvert.tunnel.frame import Frame, Kind

OFFSETS = st.integers(0, 2**64 - 1)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    kind = draw(st.sampled_from(list(Kind)))
    rule = frame.RULES[kind]
    flags = draw(st.sampled_from([0, rule.flags]))
    wire = draw(st.integers(rule.least, rule.most))
    raw = 0
    if rule.raw:
        raw = draw(st.integers(1, frame.MAX_PAYLOAD)) if flags else wire
    return Frame(kind, flags, wire, raw, draw(OFFSETS) if rule.offset else 0)


@given(frames())
def test_a_legal_frame_is_read_as_it_was_written(one: Frame) -> None:
    header = frame.encode(one)
    assert len(header) == frame.HEADER
    assert frame.decode(header) == one


@given(st.binary(min_size=frame.HEADER, max_size=frame.HEADER))
def test_rubbish_is_a_legal_frame_or_a_violation(header: bytes) -> None:
    try:
        one = frame.decode(header)
    except errors.ProtocolViolation:
        return
    assert frame.encode(one) == header


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ((0, 0, 0, 0, 0, 0), "unknown kind 0"),
        ((6, 0, 0, 0, 0, 0), "unknown kind 6"),
        ((Kind.DATA, 2, 0, 1, 1, 0), "unknown flags"),
        ((Kind.FIN, 1, 0, 0, 0, 0), "unknown flags"),
        ((Kind.HEARTBEAT, 0, 1, 0, 0, 0), "unknown flags"),
        ((Kind.DATA, 0, 0, 0, 0, 0), "frame of 0 bytes"),
        ((Kind.DATA, 0, 0, frame.MAX_PAYLOAD + 1, frame.MAX_PAYLOAD + 1, 0), "are allowed"),
        ((Kind.DATA, 0, 0, 5, 6, 0), "stand for 6"),
        ((Kind.DATA, frame.COMPRESSED, 0, 5, 0, 0), "stand for 0"),
        ((Kind.DATA, frame.COMPRESSED, 0, 5, frame.MAX_PAYLOAD + 1, 0), "stand for"),
        ((Kind.ACK, 0, 0, 1, 0, 0), "are allowed"),
        ((Kind.ACK, 0, 0, 0, 1, 0), "stands for 1"),
        ((Kind.HEARTBEAT, 0, 0, 0, 0, 1), "at offset 1"),
        ((Kind.ABORT, 0, 0, frame.MAX_REASON + 1, 0, 0), "are allowed"),
    ],
)
def test_what_the_rules_do_not_allow(fields: tuple[int, ...], words: str) -> None:
    with pytest.raises(errors.ProtocolViolation, match=words):
        frame.decode(struct.pack("!BBHIIQ", *fields))


def test_short_forms_are_frames() -> None:
    assert frame.decode(frame.data(7, 3)) == Frame(Kind.DATA, 0, 3, 3, 7)
    assert frame.decode(frame.compressed(7, 3, 9)) == Frame(Kind.DATA, frame.COMPRESSED, 3, 9, 7)
    assert frame.decode(frame.ack(7)) == Frame(Kind.ACK, offset=7)
    assert frame.decode(frame.ack(7, end=True)) == Frame(Kind.ACK, frame.END, offset=7)
    assert frame.decode(frame.fin(7)) == Frame(Kind.FIN, offset=7)
    assert frame.decode(frame.heartbeat()) == Frame(Kind.HEARTBEAT)


@given(st.text(max_size=3000))
def test_a_reason_fits_its_frame_and_stays_text(reason: str) -> None:
    whole = frame.abort(reason)
    one = frame.decode(whole[: frame.HEADER])
    assert one.wire == len(whole) - frame.HEADER <= frame.MAX_REASON
    whole[frame.HEADER :].decode()
