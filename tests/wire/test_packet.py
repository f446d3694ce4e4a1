from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground import errors
from culvert.wire.packet import HEADER_SIZE, PACKET_MAX, PAYLOAD_MAX, Header, Packet, PacketStatus, PacketType, Reader

UINT = st.integers(0, 2**32 - 1)
headers = st.builds(
    Header,
    program=UINT,
    version=UINT,
    procedure=st.integers(-(2**31), 2**31 - 1),
    type=st.sampled_from(PacketType),
    serial=UINT,
    status=st.sampled_from(PacketStatus),
)
packets = st.builds(Packet, headers, st.binary(max_size=200))


def encoded(packet: Packet) -> bytes:
    return packet.header.pack(len(packet.payload)) + packet.payload


def drain(reader: Reader) -> list[Packet]:
    found = []
    while (packet := reader.next_packet()) is not None:
        found.append(packet)
    return found


def test_captured_packet() -> None:
    # AUTH_LIST as virsh 9.0 sends it first on a connection.
    data = bytes.fromhex(
        "0000001c"  # length 28
        "20008086"  # REMOTE
        "00000001"  # version 1
        "00000042"  # procedure 66
        "00000000"  # CALL
        "00000000"  # serial 0
        "00000000"  # OK
    )
    header = Header(0x20008086, 1, 66, PacketType.CALL, 0, PacketStatus.OK)
    assert header.pack(0) == data
    reader = Reader()
    reader.feed(data)
    assert drain(reader) == [Packet(header, b"")]


@given(st.lists(packets, max_size=8), st.lists(st.integers(1, 300), min_size=1, max_size=50))
def test_any_cut_gives_the_same_packets(sent: list[Packet], cuts: list[int]) -> None:
    data = b"".join(map(encoded, sent))
    found: list[Packet] = []
    reader, start, turn = Reader(), 0, 0
    while start < len(data):
        size = cuts[turn % len(cuts)]
        reader.feed(data[start : start + size])
        found += drain(reader)
        start, turn = start + size, turn + 1
    assert found == sent
    assert len(reader) == 0


@given(st.lists(packets, min_size=1, max_size=4))
def test_byte_at_a_time_equals_whole(sent: list[Packet]) -> None:
    data = b"".join(map(encoded, sent))
    whole, single = Reader(), Reader()
    whole.feed(data)
    found = []
    for number in range(len(data)):
        single.feed(data[number : number + 1])
        found += drain(single)
    assert found == drain(whole) == sent


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 27, PACKET_MAX + 1, 2**32 - 1])
def test_impossible_length_is_refused_with_four_bytes(size: int) -> None:
    reader = Reader()
    reader.feed(size.to_bytes(4, "big"))
    with pytest.raises(errors.ProtocolViolation, match=str(size)):
        reader.next_packet()


@pytest.mark.parametrize("size", [HEADER_SIZE, PACKET_MAX])
def test_possible_length_is_waited_for(size: int) -> None:
    reader = Reader()
    reader.feed(size.to_bytes(4, "big"))
    assert reader.next_packet() is None


def test_own_maximum() -> None:
    reader = Reader(100)
    reader.feed((101).to_bytes(4, "big"))
    with pytest.raises(errors.ProtocolViolation, match="limit of 100"):
        reader.next_packet()


@pytest.mark.parametrize(("kind", "status"), [(7, 0), (-1, 0), (0, 3), (3, 2**32 - 1)])
def test_a_type_or_status_that_the_protocol_does_not_have_is_given_out_as_it_came(kind: int, status: int) -> None:
    numbers = (28, 1, 1, 1, kind & 0xFFFFFFFF, 0, status)
    reader = Reader()
    reader.feed(b"".join(number.to_bytes(4, "big") for number in numbers))
    assert drain(reader) == [Packet(Header(1, 1, 1, kind, 0, status), b"")]


def test_payload_too_long_to_send() -> None:
    header = Header(1, 1, 1, PacketType.REPLY, 0, PacketStatus.OK)
    assert len(header.pack(PAYLOAD_MAX)) == HEADER_SIZE
    with pytest.raises(errors.RpcError, match="longer"):
        header.pack(PAYLOAD_MAX + 1)


@given(st.integers(0, 32), packets, packets)
def test_skipped_bytes(size: int, first: Packet, second: Packet) -> None:
    reader = Reader()
    data = encoded(first) + bytes(size) + encoded(second)
    found: list[Packet] = []
    for number in range(len(data)):
        reader.feed(data[number : number + 1])
        packet = reader.next_packet()
        if packet is not None:
            if not found:
                reader.skip(size)
            found.append(packet)
    assert found == [first, second]


def test_never_aligned_chunks_do_not_accumulate() -> None:
    """A chunk that always ends inside the next packet must not keep what was read before it."""
    unit = Header(1, 1, 1, PacketType.CALL, 0, PacketStatus.OK).pack(0)
    reader = Reader()
    reader.feed(unit[:10])
    for _ in range(10_000):
        reader.feed(unit[10:] + unit[:10])
        assert reader.next_packet() is not None
    assert len(reader) == 10
    assert sum(map(len, reader._chunks)) <= 2 * len(unit)


@given(st.binary(max_size=400))
def test_rubbish_gives_packets_or_a_violation(data: bytes) -> None:
    outcomes = []
    for step in (1, 7, max(len(data), 1)):
        reader = Reader()
        found: list[Packet] = []
        try:
            for start in range(0, len(data), step):
                reader.feed(data[start : start + step])
                found += drain(reader)
        except errors.ProtocolViolation as err:
            outcomes.append((found, str(err)))
        else:
            outcomes.append((found, ""))
    texts = {text for _, text in outcomes}
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("word", "said"), [(b"\x16\x03\x01\x02", True), (b"\x15\x03\x03\x00", True), (b"\x7f\x03\x01\x02", False)]
)
def test_tls_to_a_clear_text_port_is_recognised(word: bytes, said: bool) -> None:
    reader = Reader()
    reader.feed(word)
    with pytest.raises(errors.ProtocolViolation) as caught:
        reader.next_packet()
    assert ("these bytes are TLS" in str(caught.value)) is said
