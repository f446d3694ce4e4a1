"""Where a source is sent for the data: the listener, and a host that its certificate names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from culvert.daemon import reach
from culvert.daemon.service import Service
from culvert.ground import errors
from culvert.rpc.session import Session

TCP = ("tcp", "10.0.0.2", 1000)
TLS = ("tls", "10.0.0.2", 2000)
ANYWHERE = ("tls", "0.0.0.0", 2000)


def where(
    *reachable: tuple[str, str, int],
    transport: str = "unix",
    came_in: tuple[str, int] | None = None,
    asked: str | None = None,
    configured: str = "",
    names: tuple[str, ...] | None = None,
    source: str = "",
    hostname: str = "beta",
) -> str:
    service = SimpleNamespace(
        reachable=list(reachable),
        hostname=hostname,
        socket_path="/run/s",
        security=None if names is None else SimpleNamespace(names=names),
        config=SimpleNamespace(migration=SimpleNamespace(host=configured)),
    )
    session = SimpleNamespace(transport=transport, local_address=came_in)
    return str(reach.address(cast(Service, service), cast(Session, session), asked, source=source))


def test_the_way_the_client_came() -> None:
    assert where(TCP, TLS, transport="tcp", came_in=("10.0.0.2", 1000)) == "qemu+tcp://10.0.0.2:1000/system"
    certified = where(TCP, TLS, transport="tls", came_in=("10.0.0.2", 2000), names=("10.0.0.2", "beta"))
    assert certified == "qemu+tls://10.0.0.2:2000/system"


@pytest.mark.parametrize(
    ("names", "host"),
    [
        (("10.0.0.2", "beta"), "10.0.0.2"),
        (("beta",), "beta"),
        (("10.9.9.9", "*.example", "beta.example"), "beta.example"),
        (("10.9.9.9",), "10.0.0.2"),
        ((), "10.0.0.2"),
    ],
)
def test_a_host_that_the_certificate_names(names: tuple[str, ...], host: str) -> None:
    found = where(TLS, transport="tls", came_in=("10.0.0.2", 2000), names=names)
    assert found == f"qemu+tls://{host}:2000/system"


def test_what_was_asked_or_configured_is_the_host() -> None:
    assert where(TCP, TLS, transport="tls", asked="tcp://h", names=("x",)) == "qemu+tls://h:2000/system"
    assert where(TLS, TCP, transport="tcp", asked="tcp://h", names=("x",)) == "qemu+tcp://h:1000/system"
    assert where(TCP, configured="h") == "qemu+tcp://h:1000/system"


@pytest.mark.parametrize("asked", ["tcp:10.0.0.9", "tcp:10.0.0.9:49152", "tcp://10.0.0.9:49152", "tcp://10.0.0.9/"])
def test_the_port_is_always_a_listener_s_own(asked: str) -> None:
    assert where(TCP, transport="tcp", came_in=("10.0.0.2", 1000), asked=asked) == "qemu+tcp://10.0.0.9:1000/system"


def test_among_equals_the_listener_is_the_one_at_the_host() -> None:
    other = ("tcp", "10.1.0.2", 3000)
    assert where(TCP, other, transport="tcp", asked="tcp://10.1.0.2") == "qemu+tcp://10.1.0.2:3000/system"
    anywhere = ("tcp", "0.0.0.0", 4000)
    assert where(TCP, anywhere, transport="tcp", asked="tcp://10.1.0.2") == "qemu+tcp://10.1.0.2:4000/system"


def test_a_local_client_gets_tls_first_then_tcp_then_the_socket() -> None:
    assert where(TCP, ANYWHERE, names=("beta.example",)) == "qemu+tls://beta.example:2000/system"
    assert where(TCP, ANYWHERE, names=("beta",)) == "qemu+tls://beta:2000/system"
    assert where(TCP) == "qemu+tcp://10.0.0.2:1000/system"
    assert where() == "qemu+unix:///system?socket=/run/s"


LOOPBACK = ("tcp", "127.0.0.1", 1000)
WILDCARD = ("tcp", "0.0.0.0", 1000)


def test_what_means_itself_on_any_host_is_for_a_source_on_this_one() -> None:
    assert where(source="beta") == "qemu+unix:///system?socket=/run/s"
    assert where(LOOPBACK, source="beta") == "qemu+tcp://127.0.0.1:1000/system"
    assert where(LOOPBACK, source="alpha", asked="tcp://10.0.0.2") == "qemu+tcp://10.0.0.2:1000/system"
    assert where(LOOPBACK, source="alpha", configured="10.0.0.2") == "qemu+tcp://10.0.0.2:1000/system"
    assert where(LOOPBACK, TLS, source="alpha") == "qemu+tls://10.0.0.2:2000/system"
    came_in = ("127.0.0.1", 1000)
    assert where(WILDCARD, transport="tcp", came_in=came_in, source="alpha") == "qemu+tcp://beta:1000/system"
    assert where(WILDCARD, transport="tcp", came_in=came_in, source="beta") == "qemu+tcp://127.0.0.1:1000/system"


@pytest.mark.parametrize(
    ("reachable", "hostname"),
    [((), "beta"), ((LOOPBACK,), "beta"), ((("tls", "::1", 1),), "beta"), ((WILDCARD,), "localhost.localdomain")],
)
def test_what_is_missing_is_said(reachable: tuple[tuple[str, str, int], ...], hostname: str) -> None:
    with pytest.raises(errors.OperationInvalid, match=rf"host '{hostname}' listens nowhere that host 'alpha' can"):
        where(*reachable, source="alpha", hostname=hostname)


def test_what_cannot_be() -> None:
    with pytest.raises(errors.InvalidArgument, match="not of the form tcp://HOST"):
        where(TCP, asked="rdma://h")
    with pytest.raises(errors.OperationInvalid, match="no TLS or TCP listener"):
        where(asked="tcp://h")
