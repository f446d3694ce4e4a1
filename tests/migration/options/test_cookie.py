"""Cookies: libvirt's form in both directions, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground import errors
from culvert.migration.options import cookie
from culvert.migration.options.cookie import Cookie

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, blacklist_categories=["Cs", "Cc"]), min_size=1)

IDENTITY = Cookie(name="g", uuid=UUID(int=1), hostname="host-a", host_uuid=UUID(int=2))


@given(
    st.builds(
        Cookie,
        name=TEXT,
        uuid=st.uuids(),
        hostname=TEXT,
        host_uuid=st.uuids(),
        attempt=st.text("0123456789abcdef", min_size=8, max_size=64),
        seal=st.just("") | st.text("0123456789abcdef", min_size=64, max_size=64),
        grant=st.just("") | st.text("0123456789abcdef", min_size=64, max_size=64),
        wire=st.integers(1, 9999),
        preempt=st.booleans(),
        qemu=st.integers(0, 999_999_999),
        statistics=st.dictionaries(st.sampled_from(["memory_total", "downtime"]), st.integers(0, 2**64 - 1)),
    )
)
def test_what_is_built_is_read_again(sent: Cookie) -> None:
    assert cookie.parse(cookie.build(sent)) == sent


def test_the_nul_is_counted_and_all_four_identities_are_there() -> None:
    data = cookie.build(IDENTITY)
    assert data.endswith(b"</qemu-migration>\0")
    for tag in (b"<name>g<", b"<uuid>00000000-", b"<hostname>host-a<", b"<hostuuid>00000000-"):
        assert tag in data


def test_a_persistent_definition_travels_whole() -> None:
    domain = "<domain type='qemu'><name>g</name></domain>"
    sent = Cookie(name="g", uuid=UUID(int=1), hostname="a", host_uuid=UUID(int=2), persistent_xml=domain)
    got = cookie.parse(cookie.build(sent))
    assert got.persistent_xml is not None
    assert "<name>g</name>" in got.persistent_xml
    assert b'<feature name="persistent"/>' in cookie.build(sent)
    assert b"<feature" not in cookie.build(replace(sent, insists=False))
    assert cookie.parse(cookie.build(replace(sent, insists=False))).persistent_xml == got.persistent_xml


def test_what_waits_at_the_destination_travels_in_an_element_of_our_own() -> None:
    domain = "<domain type='qemu'><name>g</name></domain>"
    got = cookie.parse(cookie.build(replace(IDENTITY, attempt="0123abcd", machine_xml=domain)))
    assert got.machine_xml is not None
    assert "<name>g</name>" in got.machine_xml
    assert got.persistent_xml is None


LIBVIRT_9 = b"""<qemu-migration>
  <name>t1</name>
  <uuid>11111111-2222-4333-8444-000000000001</uuid>
  <hostname>host-a</hostname>
  <hostuuid>aaaaaaaa-2222-4333-8444-000000000001</hostuuid>
  <feature name='lockstate'/>
  <cpu mode='custom' match='exact' check='full'><model fallback='forbid'>qemu64</model></cpu>
  <capabilities><cap name='xbzrle' auto='no'/></capabilities>
</qemu-migration>
\0"""


def test_a_cookie_of_libvirt_is_read() -> None:
    got = cookie.parse(LIBVIRT_9)
    assert (got.name, got.hostname, got.attempt) == ("t1", "host-a", "")
    assert got.cpu_xml is not None
    assert "qemu64" in got.cpu_xml


# What libvirt 12.9 writes into a cookie beside what 9.0 does, and what a later one might.
LATER = [
    b"<capabilities><cap name='switchover-ack' auto='no'/><cap name='mapped-ram' auto='no'/></capabilities>",
    b"<statistics><started>1796097596831</started><memory_bps>66674036</memory_bps><vfio_total>0</vfio_total>"
    b"<spoken>in words</spoken></statistics>",
    b"<something new='1'><inside/></something>",
]


@pytest.mark.parametrize("extra", LATER)
def test_what_a_later_libvirt_adds_and_does_not_insist_on_is_passed_over(extra: bytes) -> None:
    later = cookie.parse(LIBVIRT_9.replace(b"<capabilities>", extra + b"<capabilities>"))
    assert replace(later, statistics={}) == cookie.parse(LIBVIRT_9)
    assert "spoken" not in later.statistics


def test_what_a_later_libvirt_insists_on_is_refused_by_its_name() -> None:
    with pytest.raises(errors.InternalError, match="Unknown migration cookie feature something"):
        cookie.parse(LIBVIRT_9.replace(b"<capabilities>", b"<feature name='something'/><something/><capabilities>"))


@pytest.mark.parametrize("lock", [b"", b"<lockstate/>", b"<lockstate driver='nop'/>"])
def test_a_lock_manager_that_holds_nothing_is_no_obstacle(lock: bytes) -> None:
    with_lock = LIBVIRT_9.replace(b"<capabilities>", lock + b"<capabilities>")
    assert lock in with_lock
    assert cookie.parse(with_lock) == cookie.parse(LIBVIRT_9)


def test_the_cpu_that_runs_travels() -> None:
    cpu = "<cpu mode='custom' match='exact' check='full'><model>EPYC</model></cpu>"
    got = cookie.parse(cookie.build(replace(IDENTITY, cpu_xml=cpu)))
    assert got.cpu_xml is not None
    assert "EPYC" in got.cpu_xml


REFUSED = [
    (b"", "NULL terminated"),
    (b"<qemu-migration/>", "NULL terminated"),
    (b"<qemu-migration/>\0", "missing name"),
    (b"rubbish\0", "cannot be read"),
    (b"<other/>\0", "<other>"),
    (b"\xff\xfe\0", "cannot be read"),
    (LIBVIRT_9.replace(b"<hostuuid>aaaaaaaa", b"<hostuuid>zz"), "cannot be read"),
    (LIBVIRT_9.replace(b"<capabilities>", b"<culvert attempt='../../x'/><capabilities>"), "attempt is"),
    (LIBVIRT_9.replace(b"<capabilities>", b"<culvert seal='x'/><capabilities>"), "seal is"),
    (LIBVIRT_9.replace(b"<capabilities>", b"<culvert grant='0g'/><capabilities>"), "grant is"),
    (LIBVIRT_9.replace(b"<capabilities>", b"<culvert preempt='no'/><capabilities>"), "preempt is"),
    (
        LIBVIRT_9.replace(
            b"<capabilities>",
            b"<feature name='lockstate'/><lockstate driver='sanlock'><leases>x</leases></lockstate><capabilities>",
        ),
        "Unsupported migration cookie feature lockstate",
    ),
    (LIBVIRT_9.replace(b"<capabilities>", b"<feature name='memory-hotplug'/><capabilities>"), "memory-hotplug"),
    (LIBVIRT_9.replace(b"<capabilities>", b"<feature/><capabilities>"), "Unknown migration cookie feature"),
    (LIBVIRT_9.replace(b"<capabilities>", b"<feature name='nbd'/><capabilities>"), "nbd"),
]


@pytest.mark.parametrize(("data", "text"), REFUSED)
def test_what_is_no_cookie_is_refused_with_the_reason(data: bytes, text: str) -> None:
    with pytest.raises(errors.InternalError, match=text):
        cookie.parse(data)


@given(st.binary(max_size=200))
def test_rubbish_gives_an_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(errors.InternalError):
        cookie.parse(data + b"\0")
