"""Rubbish on the daemon's sockets, below the calls and beside them: an error or a disconnect, and nothing more.

The fixture ``host`` looks after each test that nothing has come of it. All rubbish is seeded and bounded.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from culvert.ground import errors
from culvert.protocol import remote_connect, remote_domain, remote_list, remote_register, shapes, types
from culvert.protocol.constants_state import EventID
from culvert.wire.packet import HEADER_SIZE, PACKET_MAX, Header, PacketStatus, PacketType
from culvert.xdr.struct import Void, encode
from tests.support.daemon import DaemonProcess
from tests.support.processes import resident
from tests.support.raw import NOBODY, Raw
from tests.support.virsh import virsh
from tests.support.wait import wait_for


def answered(host: DaemonProcess) -> None:
    """Somebody who behaves is served, on either socket."""
    assert virsh("hostname", uri=host.tcp_uri).expect().strip()
    assert virsh("list", uri=host.uri).expect()


# ---- below the calls ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@seed(1)
@settings(max_examples=40, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rubbish=st.binary(min_size=1, max_size=300))
def test_random_bytes(host: DaemonProcess, transport: str, rubbish: bytes) -> None:
    with Raw(host, transport) as raw:
        raw.send(rubbish)
        with contextlib.suppress(OSError):
            raw.sock.shutdown(socket.SHUT_WR)
        raw.wait_closed()


def test_much_random_data(host: DaemonProcess) -> None:
    for number in range(8):
        with Raw(host) as raw:
            raw.send(random.Random(number).randbytes(4 << 20))
            raw.wait_closed()
        answered(host)


@pytest.mark.parametrize("length", [0, 1, HEADER_SIZE - 1, PACKET_MAX + 1, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("is_open", [False, True], ids=["anonymous", "open"])
def test_impossible_lengths(host: DaemonProcess, length: int, is_open: bool) -> None:
    with Raw(host) as raw:
        if is_open:
            raw.open()
        raw.send(struct.pack(">I", length))
        raw.wait_closed()
    host.wait_logged(f"packet length {length} ")


def test_a_stranger_may_not_send_large_packets(host: DaemonProcess) -> None:
    with Raw(host) as raw:
        raw.send(struct.pack(">I", 2 << 20))
        raw.wait_closed()


@pytest.mark.parametrize(("member", "value"), [("type", 7), ("type", -1), ("status", 3), ("status", 0xFFFFFFFF)])
def test_types_and_statuses_that_do_not_exist(host: DaemonProcess, member: str, value: int) -> None:
    with Raw(host) as raw:
        packet = bytearray(raw.open().packed(remote_connect.CONNECT_GET_TYPE, b""))
        struct.pack_into(">i" if value < 0 else ">I", packet, {"type": 16, "status": 24}[member], value)
        raw.send(bytes(packet))
        raw.send(raw.packed(remote_connect.CONNECT_GET_TYPE, b""))
        if member == "status":  # the type is nobody's, and dropped, as libvirt's server does
            _, refused = raw.answer()
            assert isinstance(refused, types.Error)
        _, answer = raw.answer()
        assert isinstance(answer, bytes)


def test_every_truncation_of_a_call(host: DaemonProcess) -> None:
    with Raw(host) as raw:
        whole = raw.packed(remote_list.DOMAIN_LOOKUP_BY_NAME, encode(remote_list.NameArgs("nobody")))
    for size in range(len(whole)):
        with Raw(host) as raw:
            raw.send(whole[:size])
            raw.sock.shutdown(socket.SHUT_WR)
            raw.wait_closed()


def test_every_truncation_of_the_arguments(host: DaemonProcess) -> None:
    payload = encode(shapes.DomainFlagsArgs(NOBODY, 0))
    with Raw(host) as raw:
        raw.open()
        for size in range(len(payload)):
            found = raw.ask(remote_domain.DOMAIN_GET_STATE, payload[:size])
            assert isinstance(found, types.Error)
            assert "Unable to decode message payload" in (found.message or "")


@pytest.mark.parametrize("kind", list(PacketType))
def test_packets_a_client_does_not_send(host: DaemonProcess, kind: PacketType) -> None:
    """Replies, events, holes: dropped, or the connection ends; what a daemon never does is serve them."""
    with Raw(host) as raw:
        raw.open()
        for status in set(PacketStatus) - ({PacketStatus.OK} if kind is PacketType.CALL else set()):
            if not raw.send(raw.packed(remote_connect.CONNECT_GET_HOSTNAME, b"", type=kind, status=status)):
                break
        with contextlib.suppress(OSError):  # it has hung up already
            raw.sock.shutdown(socket.SHUT_WR)
        assert [header for header in raw.rest() if header.status is PacketStatus.OK] == []
    answered(host)


def test_thousands_of_packets_for_streams_nobody_opened(host: DaemonProcess) -> None:
    with Raw(host) as raw:
        raw.open()
        before = resident(host.pid)
        for serial in range(4000):
            status = (PacketStatus.CONTINUE, PacketStatus.OK, PacketStatus.ERROR)[serial % 3]
            head = Header(0x20008086, 1, 304, PacketType.STREAM, serial, status)
            assert raw.send(head.pack(4096) + bytes(4096))
        assert raw.call(remote_connect.CONNECT_GET_TYPE, Void()).type == "QEMU"
        assert resident(host.pid) - before < 16 << 20
    answered(host)


# ---- peers that do not do their part ------------------------------------------------------------------------------


def test_half_open_connections(host: DaemonProcess) -> None:
    """More than may be anonymous at one time: they wait, and by the other socket everybody is served."""
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(Raw(host)) for _ in range(60)]
        for number, raw in enumerate(raws):
            if number % 2:
                raw.send(b"\0\0\0")
        assert virsh("list", uri=host.uri).expect()
        assert virsh("list", uri=host.uri).expect()
    answered(host)


def test_many_connections(host: DaemonProcess) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(Raw(host)).open()
        answered(host)
    wait_for(lambda: host.log.count("session close") >= host.log.count("session open") - 1, "they are all gone")
    answered(host)


def test_connections_that_end_in_mid_packet(host: DaemonProcess) -> None:
    for number in range(30):
        with Raw(host) as raw:
            raw.open()
            raw.send(struct.pack(">I", 30 << 20) + bytes(number * 1000))
            if number % 2:  # reset rather than end
                raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    answered(host)


def test_largest_packets(host: DaemonProcess) -> None:
    """Each is read whole, refused, and forgotten."""
    with Raw(host) as raw:
        raw.open()
        for _ in range(6):
            found = raw.ask(remote_domain.DOMAIN_DEFINE_XML, b"\xff" * (PACKET_MAX - HEADER_SIZE))
            assert isinstance(found, types.Error)
    answered(host)


def test_a_client_that_asks_and_never_reads(host: DaemonProcess) -> None:
    """Its answers fill its socket, then its calls stay unread: the daemon holds no more than that."""
    with Raw(host) as raw:
        raw.open()
        before = resident(host.pid)
        call = raw.packed(remote_connect.CONNECT_GET_CAPABILITIES, b"")
        raw.sock.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            for _ in range(3000):
                raw.sock.sendall(call * 50)
            pytest.fail("the daemon reads calls without end")
        answered(host)
        assert resident(host.pid) - before < 32 << 20


def test_a_client_that_never_reads_its_events(host: DaemonProcess) -> None:
    """It is disconnected when too much waits for it; who reads gets every event."""
    xml = "<domain type='qemu'><name>g</name><memory>1024</memory><os><type>hvm</type></os></domain>"
    with Raw(host) as deaf, Raw(host) as busy:
        deaf.open()
        busy.open()
        registered = 0
        with contextlib.suppress(errors.RemoteError):  # there is a limit
            for _ in range(1000):
                deaf.call(
                    remote_register.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY,
                    shapes.DomainEventIDArgs(EventID.LIFECYCLE, None),
                )
                registered += 1
        assert registered
        for _ in range(120):
            dom = busy.call(remote_domain.DOMAIN_DEFINE_XML, shapes.XMLArgs(xml)).dom
            busy.call(remote_domain.DOMAIN_UNDEFINE, shapes.DomainArgs(dom))
            if "does not read its events" in host.log:
                break
        host.wait_logged("does not read its events")
        answered(host)
        deaf.wait_closed()


def test_registrations_have_a_limit(host: DaemonProcess) -> None:
    with Raw(host) as raw:
        raw.open()
        args = shapes.DomainEventIDArgs(EventID.LIFECYCLE, None)
        row = remote_register.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY
        refusals = [found for _ in range(1100) if isinstance(found := raw.ask(row, encode(args)), types.Error)]
        assert refusals
        assert "too many" in (refusals[0].message or "")
