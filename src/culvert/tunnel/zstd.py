"""zstd (RFC 8878) in the tunnel: blocks made smaller and larger again, and what that took."""

from __future__ import annotations

import time

import zstandard

from culvert.ground import errors
from culvert.tunnel.compression import Sample

# Of the levels the one that costs least: a migration's time is what compression is for.
_LEVEL = 1


class Compressor:
    """Blocks of one channel, each a zstd frame of its own, so that a replay may cut the bytes anew."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
        self._raw = 0
        self._packed = 0
        self._seconds = 0.0

    def compress(self, block: memoryview) -> bytes:
        began = time.thread_time()
        packed = self._zstd.compress(block)
        self._seconds += time.thread_time() - began
        self._raw += len(block)
        self._packed += len(packed)
        return packed

    def measured(self) -> Sample | None:
        """What the blocks since the last call were like; None without blocks."""
        if not self._raw:
            return None
        sample = Sample(ratio=self._packed / self._raw, speed=self._raw / max(self._seconds, 1e-9))
        self._raw, self._packed, self._seconds = 0, 0, 0.0
        return sample


class Decompressor:
    def __init__(self) -> None:
        self._zstd = zstandard.ZstdDecompressor()

    def decompress(self, packed: memoryview, raw: int) -> bytes:
        """The ``raw`` bytes that ``packed`` stands for; no more memory is used than for these.

        Raises ``errors.ProtocolViolation`` when it is not one zstd frame of exactly so many bytes.
        """
        try:
            size = zstandard.frame_content_size(packed)
            if size != raw:
                raise errors.ProtocolViolation(f"a compressed frame of {size} bytes, announced as {raw}")
            block = self._zstd.decompress(packed, max_output_size=raw, allow_extra_data=False)
        except zstandard.ZstdError as err:
            raise errors.ProtocolViolation(f"a compressed frame that cannot be read: {err}") from err
        if len(block) != raw:
            raise errors.ProtocolViolation(f"a compressed frame of {len(block)} bytes, announced as {raw}")
        return block
