"""Connection URIs: reading, writing, and what of them travels in CONNECT_OPEN."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground import errors, uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qemu+tcp://h/system", uri.ConnectionURI("qemu", "tcp", "h", 16509, "", "/system")),
        ("qemu+tcp://h:1234/system", uri.ConnectionURI("qemu", "tcp", "h", 1234, "", "/system")),
        ("qemu://h/system", uri.ConnectionURI("qemu", "tls", "h", 16514, "", "/system")),
        ("qemu:///system", uri.ConnectionURI("qemu", "unix", "", 0, "", "/system")),
        ("qemu+tcp://[::1]:1/session", uri.ConnectionURI("qemu", "tcp", "::1", 1, "", "/session")),
        ("qemu+ssh://me@h/system", uri.ConnectionURI("qemu", "ssh", "h", 0, "me", "/system")),
        ("qemu+ssh://h:2222/system", uri.ConnectionURI("qemu", "ssh", "h", 2222, "", "/system")),
        ("qemu+tls://me@h/system", uri.ConnectionURI("qemu", "tls", "h", 16514, "me", "/system")),
        (
            "qemu+unix:///system?socket=/run/x&y=",
            uri.ConnectionURI("qemu", "unix", parameters={"socket": "/run/x", "y": ""}),
        ),
    ],
)
def test_read(text: str, expected: uri.ConnectionURI) -> None:
    assert uri.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no 'driver://' part"),
        ("qemu:/system", "no 'driver://' part"),
        ("/run/socket", "no 'driver://' part"),
        ("qemu+libssh2://h/system", "transport 'libssh2'"),
        ("qemu+ssh:///system", "needs a host"),
        ("qemu+tcp:///system", "needs a host"),
        ("qemu+tcp://h:99999/system", "cannot be read"),
        ("qemu+tcp://[::1/system", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=reason):
        uri.parse(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("qemu+tcp://h/system", "qemu:///system"),
        ("qemu+unix:///system?socket=/run/x", "qemu:///system"),
        ("qemu+tcp://h/system?foo=bar&no_verify=1&x=1", "qemu:///system?foo=bar&x=1"),
        ("qemu+tcp://h/system?name=test:///default", "test:///default"),
    ],
)
def test_what_travels_in_connect_open(text: str, name: str) -> None:
    assert uri.parse(text).open_name == name


def test_parameters_are_added_and_replaced() -> None:
    found = uri.parse("qemu+unix:///system?socket=/a").with_parameters(socket="/b", streams="4")
    assert found.socket_path == "/b"
    assert str(found) == "qemu+unix:///system?socket=/b&streams=4"


hosts = st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True) | st.just("fe80::1")
words = st.from_regex(r"[A-Za-z0-9/_ %&=+é-]{0,12}", fullmatch=True)
uris = st.builds(
    uri.ConnectionURI,
    driver=st.just("qemu"),
    transport=st.sampled_from(["tcp", "tls"]),
    host=hosts,
    port=st.integers(1, 65535),
    user=st.just("") | st.from_regex(r"[a-z]{1,8}", fullmatch=True),
    path=st.sampled_from(["/system", "/session"]),
    parameters=st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), words, max_size=3),
)


@given(uris)
def test_round_trip(found: uri.ConnectionURI) -> None:
    assert uri.parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "host", "user"),
    [
        ("qemu+tls://h%2Fx/system", "h/x", ""),
        ("qemu+tls://%41/system", "a", ""),
        ("qemu+tls://u%2F%40@h/system", "h", "u/@"),
        ("qemu+tls://[fe80::1%25bad0]/system", "fe80::1%bad0", ""),
    ],
)
def test_what_is_encoded_in_it_stays_what_it_is(text: str, host: str, user: str) -> None:
    found = uri.parse(text)
    assert (found.host, found.user) == (host, user)
    assert uri.parse(str(found)) == found


def test_a_colon_is_in_no_host_but_an_address_in_brackets() -> None:
    with pytest.raises(errors.InvalidArgument, match="'a:b' is no host"):
        uri.parse("qemu+tls://a%3Ab/system")


PIECES = [*"+:/?&=#%@[].", "://", "host", "fe80::1", "16509", "/system", "socket", "%2F", "%", "é", " ", "\n", "\0"]
nearly = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(
            ["qemu+tcp://h/system", "qemu+tls://u@[fe80::1]:1/", "qemu+unix:///system?socket=/a", "qemu://"]
        ),
        st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    ),
)


@given(st.text(max_size=60) | nearly)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = uri.parse(text)
    except errors.InvalidArgument:
        return
    assert uri.parse(str(found)) == found
