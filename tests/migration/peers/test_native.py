"""What is a QEMU's own address, and what is not."""

from __future__ import annotations

import pytest

from culvert.migration.peers import native


@pytest.mark.parametrize("text", ["tcp:h:49152", "tcp://h:49152", "tcp:[::1]:1", "tcp://10.0.0.2:65535/"])
def test_an_address(text: str) -> None:
    assert native.is_address(text)


@pytest.mark.parametrize("text", ["tcp:h", "tcp://h", "tcp:h:0", "tcp:h:65536", "tcp:h:99999", "rdma:h:1", "h:1", ""])
def test_none(text: str) -> None:
    assert not native.is_address(text)
