"""Addresses to listen on: what is read, and what is refused before anything is started."""

from __future__ import annotations

import pytest

from culvert.daemon import listen
from culvert.daemon.listen import Address
from culvert.ground import errors


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:5", Address("tcp", "127.0.0.1", 5)),
        ("tcp://127.8.8.8", Address("tcp", "127.8.8.8", 16509)),
        ("tcp://[::1]:0", Address("tcp", "::1", 0)),
        ("tcp://localhost:1", Address("tcp", "localhost", 1)),
        ("tls://0.0.0.0", Address("tls", "0.0.0.0", 16514)),
        ("tls://[::]:7", Address("tls", "::", 7)),
        ("tls://host-a:0", Address("tls", "host-a", 0)),
    ],
)
def test_loopback_and_tls_need_no_permission(text: str, address: Address) -> None:
    assert listen.parse(text, allow_clear_text=False) == address


@pytest.mark.parametrize("text", ["tcp://0.0.0.0:1", "tcp://[::]", "tcp://10.0.0.1:16509", "tcp://host-a"])
def test_clear_text_beyond_loopback_only_when_the_configuration_says_so(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="Use tls://, or set allow_clear_text"):
        listen.parse(text, allow_clear_text=False)
    assert listen.parse(text, allow_clear_text=True)


@pytest.mark.parametrize("text", ["127.0.0.1:5", "ssl://127.0.0.1", "tcp://:5", "tls://x:y", "tcp://x/path", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="listen address"):
        listen.parse(text, allow_clear_text=True)
