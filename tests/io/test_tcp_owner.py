"""Whose a connection over loopback is."""

from __future__ import annotations

import os
import socket

import pytest

from culvert.io import tcp_owner


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1"])
def test_our_own(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.bind((host, 0))
        listening.listen(1)
        with socket.create_connection(listening.getsockname()[:2]) as client, listening.accept()[0] as accepted:
            peer, here = (tuple(where[:2]) for where in (accepted.getpeername(), accepted.getsockname()))
            assert tcp_owner.uid_of(peer, here) == os.geteuid()
            assert tcp_owner.uid_of((peer[0], peer[1] ^ 1), here) is None
            client.close()
    assert tcp_owner.is_loopback(host)


def test_another_host_is_none() -> None:
    assert not tcp_owner.is_loopback("192.0.2.1")
    assert not tcp_owner.is_loopback("fe80::1%eth0")
    assert tcp_owner.uid_of(("192.0.2.1", 1), ("192.0.2.2", 2)) is None


def test_as_the_kernel_writes_it() -> None:
    """The examples of proc_net_tcp.txt and of a little-endian host's /proc/net/tcp6."""
    assert tcp_owner.written(("127.0.0.1", 0x8AE)) in ("0100007F:08AE", "7F000001:08AE")
