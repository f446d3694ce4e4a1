"""The way around user memory: bytes in order, full when it is full, and no pipe is no harm."""

from __future__ import annotations

import os
import socket

import pytest

from culvert.ground.units import MiB
from culvert.tunnel.pipe import Pipe
from tests.tunnel.support import nothing_leaks


def pair() -> tuple[socket.socket, socket.socket]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends


def test_bytes_go_through_in_order_until_it_is_full() -> None:
    with nothing_leaks():
        writer, source = pair()
        target, reader = pair()
        pipe, written, read = Pipe(), bytearray(), bytearray()
        assert pipe.open()
        assert pipe.fill(source.fileno(), 100) is None
        assert not pipe.full
        while not pipe.full:
            piece = os.urandom(5000)
            written += piece[: writer.send(piece)]
            while pipe.fill(source.fileno(), MiB):
                pass
            if pipe.held > 100_000:
                break
        while pipe.held:
            pipe.drain(target.fileno())
            assert not pipe.full
            read += reader.recv(2 * MiB)
        assert read == written
        for end in (writer, source, target, reader):
            end.close()
        pipe.close()
        pipe.close()


def test_the_end_and_what_is_thrown_away() -> None:
    writer, source = pair()
    pipe = Pipe()
    assert pipe.open()
    writer.send(b"for nobody")
    writer.close()
    assert pipe.fill(source.fileno(), 100) == 10
    assert pipe.discard() == 10
    assert pipe.held == 0
    assert pipe.fill(source.fileno(), 100) == 0
    source.close()
    pipe.close()


def test_without_descriptors_there_is_no_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe2", refuse)
    pipe = Pipe()
    assert not pipe.open()
    monkeypatch.undo()
    assert not pipe.open()
    pipe.close()
