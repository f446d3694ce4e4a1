"""Blocks made smaller and larger again, and what a peer may not do with them."""

from __future__ import annotations

import os

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.tunnel.zstd import Compressor, Decompressor


@given(st.binary(min_size=1, max_size=5000).flatmap(lambda piece: st.integers(1, 20).map(lambda n: piece * n)))
def test_a_block_comes_back_as_it_was(block: bytes) -> None:
    packed = Compressor().compress(memoryview(block))
    assert Decompressor().decompress(memoryview(packed), len(block)) == block


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"rubbish of some length",
        zstandard.compress(bytes(100)) * 2,
        zstandard.compress(bytes(101)),
        zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100)),
        zstandard.compress(bytes(100))[:-1],
    ],
)
def test_anything_but_one_frame_of_the_announced_size_is_a_violation(packed: bytes) -> None:
    with pytest.raises(errors.ProtocolViolation):
        Decompressor().decompress(memoryview(packed), 100)


def test_what_it_took_is_measured_once() -> None:
    compressor = Compressor()
    assert compressor.measured() is None
    compressor.compress(memoryview(bytes(MiB)))
    sample = compressor.measured()
    assert sample is not None
    assert sample.ratio < 0.01
    assert sample.speed > 0
    assert compressor.measured() is None
    compressor.compress(memoryview(os.urandom(MiB)))
    again = compressor.measured()
    assert again is not None
    assert again.ratio > 0.99
