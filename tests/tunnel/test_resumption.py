"""However a new way is cut into pieces and wherever it ends, QEMU has read whole commands, the one to go on last."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from culvert.tunnel.resumption import Resumption

RESUME = bytes.fromhex("0800090000")  # read between two QEMUs 7.2.22
QUESTION = bytes.fromhex("08000a0007") + b"\x06pc.ram"  # MIG_CMD_RECV_BITMAP, likewise

questions = st.lists(st.binary(max_size=200), max_size=5).map(
    lambda names: [struct.pack(">BHHB", 8, 10, 1 + len(name), len(name)) + name for name in names]
)
pieces = st.lists(st.integers(1, 40), min_size=1)


class Way:
    """What a QEMU has ``read`` that takes ``most`` bytes at a time, at most."""

    def __init__(self) -> None:
        self.resumption = Resumption()
        self.read = b""
        self.waiting = b""

    def bring(self, data: bytes, most: int = 1 << 20) -> None:
        self.waiting += data
        while self.waiting and (admitted := self.waiting[: self.resumption.next(memoryview(self.waiting))]):
            count = min(most, len(admitted))
            self.resumption.given(memoryview(admitted), count)
            self.read += admitted[:count]
            self.waiting = self.waiting[count:]


def bring(way: Way, stream: bytes, sizes: list[int], most: int) -> None:
    while stream:
        for size in sizes:
            way.bring(stream[:size], most)
            stream = stream[size:]


@given(questions, st.binary(min_size=1), pieces, st.integers(1, 7))
def test_all_of_it_arrives(asked: list[bytes], pages: bytes, sizes: list[int], most: int) -> None:
    way = Way()
    stream = b"".join(asked) + RESUME + pages
    bring(way, stream, sizes, most)
    assert way.read == stream
    assert way.resumption.over
    assert not way.resumption.remedy()


@given(questions, st.data())
def test_it_may_end_anywhere(asked: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(asked) + RESUME
    at = data.draw(st.integers(0, len(stream) - 1))
    way = Way()
    bring(way, stream[:at], data.draw(pieces), 1 << 20)
    commands = [*asked, RESUME]
    whole = [b"".join(commands[:count]) for count in range(len(commands))]
    assert way.read in whole
    assert way.read + way.resumption.remedy() in [before + RESUME for before in whole]


@given(st.integers(0, len(QUESTION) - 1))
def test_qemu_may_have_half_a_command(taken: int) -> None:
    """A socket need not take all that it is given."""
    resumption = Resumption()
    assert resumption.next(memoryview(QUESTION)) == len(QUESTION)
    resumption.given(memoryview(QUESTION), taken)
    rest = QUESTION[taken:] if taken else b""
    assert resumption.remedy() in (rest + RESUME, QUESTION + RESUME)
    assert (QUESTION[:taken] + resumption.remedy()).endswith(RESUME)


def test_half_of_the_command_to_go_on_is_made_whole() -> None:
    resumption = Resumption()
    resumption.given(memoryview(RESUME), 2)
    assert resumption.remedy() == RESUME[2:]
    assert not resumption.over


@given(st.binary(min_size=1).filter(lambda data: data[0] != 8))
def test_what_is_not_known_passes(data: bytes) -> None:
    way = Way()
    way.bring(data)
    assert way.read == data
    assert not way.resumption.remedy()


def test_what_is_too_long_passes() -> None:
    """Nothing waits for the rest of what may never come whole."""
    for stream in (struct.pack(">BHH", 8, 7, 5000), QUESTION * 5000 + QUESTION[:3]):
        way = Way()
        way.bring(stream)
        assert way.read == stream
