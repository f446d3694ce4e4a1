"""The REMOTE, QEMU and CULVERT tables: bytes of real calls, field by field, and properties of every row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from culvert.protocol import (
    constants_state,
    culvert,
    culvert_wire_1,
    qemu,
    remote,
    remote_connect,
    remote_domain,
    remote_event,
    remote_list,
    remote_migrate,
    remote_unserved,
    shapes,
    types,
)
from culvert.protocol.procedure import Procedure, StreamDirection, Wait
from culvert.xdr import codec
from culvert.xdr.struct import Void, codec_of, decode, encode
from tests.protocol import examples

PROGRAMS = [remote.PROGRAM, qemu.PROGRAM, culvert.PROGRAM]
ROWS: list[Procedure[Any, Any]] = [row for program in PROGRAMS for row in program]
KINDS = sorted(
    {kind for row in ROWS for kind in (row.args, row.ret)}
    | {message.body for program in PROGRAMS for message in program.messages.values()},
    key=lambda kind: (kind.__module__, kind.__name__),
)

UUID = bytes.fromhex("c7a5fdbd edaf9455 926ad65c 16db1809")
G = types.Domain(name="g", uuid=UUID, id=3)
G_BYTES = (
    "00000001 67000000"  # name: length 1, "g", padding
    "c7a5fdbd edaf9455 926ad65c 16db1809"  # uuid: 16 bytes in the order of the text
    "00000003"  # id
)

PACKETS: list[tuple[str, Any, str]] = [
    (
        "CONNECT_OPEN",
        remote_connect.ConnectOpenArgs(name="qemu:///system", flags=0),
        "00000001"  # name is present
        "0000000e 71656d753a2f2f2f73797374656d 0000"  # 14 bytes, "qemu:///system", padding
        "00000000",  # flags
    ),
    ("CONNECT_OPEN of a probing client", remote_connect.ConnectOpenArgs(name=None, flags=1), "00000000 00000001"),
    ("AUTH_LIST's answer: none", remote_connect.AuthListRet(types=[0]), "00000001 00000000"),
    ("CONNECT_SUPPORTS_FEATURE 10", remote_connect.FeatureArgs(feature=10), "0000000a"),
    ("DOMAIN_LOOKUP_BY_NAME", remote_list.NameArgs(name="g"), "00000001 67000000"),
    ("DOMAIN_LOOKUP_BY_NAME's answer", shapes.DomainRet(dom=G), G_BYTES),
    ("CONNECT_LIST_ALL_DOMAINS --all", shapes.ListAllArgs(need_results=1, flags=3), "00000001 00000003"),
    (
        "CONNECT_LIST_ALL_DOMAINS's answer",
        remote_list.DomainsRet(domains=[G], ret=1),
        "00000001"  # one domain
        f"{G_BYTES}"
        "00000001",  # ret
    ),
    (
        "DOMAIN_GET_STATE's answer: running, migrated",
        remote_domain.DomainGetStateRet(state=1, reason=2),
        "00000001 00000002",
    ),
    (
        "DOMAIN_GET_INFO's answer",
        remote_domain.DomainGetInfoRet(state=1, max_mem=524288, memory=524288, nr_virt_cpu=2, cpu_time=1500000000),
        "00000001"  # state: an unsigned char in four bytes
        "0000000000080000"  # maxMem, KiB
        "0000000000080000"  # memory, KiB
        "00000002"  # nrVirtCpu: an unsigned short in four bytes
        "0000000059682f00",  # cpuTime, ns
    ),
    (
        "NODE_GET_INFO's answer",
        remote_connect.NodeInfoRet("x86_64", 1024, 2, 3000, nodes=1, sockets=1, cores=2, threads=1),
        "00000078 00000038 00000036 0000005f 00000036 00000034"  # model: each character in four bytes
        + "00000000" * 26  # … up to 32
        + "0000000000000400"  # memory, KiB
        "00000002 00000bb8"  # cpus, mhz
        "00000001 00000001 00000002 00000001",  # nodes, sockets, cores, threads
    ),
    (
        "NODE_GET_SECURITY_MODEL's answer: none",
        remote_connect.SecurityModelRet(model="", doi=""),
        "00000001 00000000"  # model: one character, the NUL
        "00000001 00000000",  # doi
    ),
    (
        "DOMAIN_MIGRATE_PERFORM3_PARAMS of virsh migrate --live --p2p --tunnelled --bandwidth 5",
        remote_migrate.Perform3ParamsArgs(
            dom=G,
            dconnuri="qemu+tcp://b/system",
            params=[types.TypedParam("bandwidth", (types.TypedParamType.ULLONG, 5))],
            cookie_in=b"",
            flags=7,
        ),
        f"{G_BYTES}"
        "00000001"  # dconnuri is present
        "00000013 71656d752b7463703a2f2f622f73797374656d 00"  # 19 bytes, padding
        "00000001"  # one parameter
        "00000009 62616e647769647468 000000"  # field: "bandwidth"
        "00000004 0000000000000005"  # type ULLONG, MiB/s
        "00000000"  # cookie_in: empty
        "00000007",  # LIVE | PEER2PEER | TUNNELLED
    ),
    (
        "DOMAIN_MIGRATE_FINISH3 with fixed arguments: flags of 64 bits",
        remote_migrate.Finish3Args(dname="g", cookie_in=b"<c/>\0", dconnuri=None, uri=None, flags=3, cancelled=1),
        "00000001 67000000"  # dname
        "00000005 3c632f3e00 000000"  # cookie_in: the NUL is counted
        "00000000"  # dconnuri: absent
        "00000000"  # uri: absent
        "0000000000000003"  # flags
        "00000001",  # cancelled
    ),
    (
        "DOMAIN_EVENT_CALLBACK_LIFECYCLE: g has stopped, migrated",
        remote_event.LifecycleEvent(callback_id=0, dom=G, event=5, detail=3),
        f"00000000 {G_BYTES} 00000005 00000003",
    ),
    (
        "MIGRATION_ATTACH",
        culvert.MigrationAttachArgs(token="t0ken", kind="disk", name="vda"),
        "00000005 74306b656e 000000"  # token: 5 bytes, padding
        "00000004 6469736b"  # kind
        "00000003 766461 00",  # name
    ),
    (
        "MIGRATION_ATTACH of culvert 0.1.0",
        culvert_wire_1.MigrationAttach1Args(token="t0ken", channel=0),
        "00000005 74306b656e 000000 00000000",
    ),
]


@pytest.mark.parametrize(("what", "value", "encoding"), PACKETS, ids=[what for what, _, _ in PACKETS])
def test_payloads(what: str, value: Any, encoding: str) -> None:
    assert encode(value) == bytes.fromhex(encoding), what
    assert decode(type(value), bytes.fromhex(encoding)) == value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_struct_survives_a_round_trip(kind: type[Any], data: st.DataObject) -> None:
    value = data.draw(examples.values(codec_of(kind)))
    assert decode(kind, encode(value)) == value


@settings(max_examples=200)
@given(st.sampled_from(KINDS), st.binary(max_size=120))
def test_rubbish_raises_nothing_but_xdr_errors(kind: type[Any], rubbish: bytes) -> None:
    try:
        found = decode(kind, rubbish)
    except codec.XdrError:
        return
    assert rubbish.startswith(encode(found))


def test_program_numbers() -> None:
    assert [(program.number, program.version) for program in PROGRAMS] == [
        (0x20008086, 1),
        (0x20008087, 1),
        (0x20637576, 1),
    ]


def test_rows_have_the_names_they_are_reached_by() -> None:
    named = {name: value for module in remote.MODULES for name, value in vars(module).items()}
    for row in [*remote.PROGRAM, *remote.PROGRAM.messages.values()]:
        assert named[row.name] is row


def test_only_authentication_is_legal_before_authentication() -> None:
    assert {row.number for row in remote.PROGRAM if row.before_auth} == {66, 67, 68, 69, 70}
    assert not any(row.before_auth for row in [*qemu.PROGRAM, *culvert.PROGRAM])


PEOPLE = ("MIGRATION_RECOVER", "MIGRATION_HISTORY", "MIGRATION_SHOW", "MIGRATION_WAITING", "MIGRATION_RESOLVE")


def test_what_is_legal_before_connect_open() -> None:
    assert {row.number for row in remote.PROGRAM if row.before_open} == {1, 2, 60, 66, 67, 68, 69, 70}
    assert not any(row.before_open for row in qemu.PROGRAM)
    asked_by_people = {row.number for row in culvert.PROGRAM if row.name.startswith(PEOPLE)}
    opened = asked_by_people | {culvert.MIGRATION_PROBE.number}  # a source measures the link where it has opened one
    assert {row.number for row in culvert.PROGRAM if not row.before_open} == opened


def test_every_call_of_libvirts_has_a_name() -> None:
    """A number that has none is an event's: one that is sent here, or one of these."""
    never_sent = {
        *(
            107,
            169,
            170,
            171,
            172,
            173,
            195,
            224,
            241,
            248,
            268,
            269,
            270,
            276,
            292,
            311,
        ),  # without a callback's number
        *(373, 377, 382, 383),
    }
    without = {number for number in range(1, 457) if not remote.PROGRAM.name_of(number)}
    assert without - set(remote.PROGRAM.messages) == never_sent
    for number, name in remote_unserved.UNSERVED.items():
        row = remote.PROGRAM.procedures.get(number)
        assert number not in remote.PROGRAM.messages
        assert row is None or row.name == name


@pytest.mark.parametrize(
    ("number", "function"),
    [
        (61, "virDomainMigratePrepare"),
        (120, "virNodeDeviceReset"),
        (135, "virConnectDomainXMLFromNative"),
        (180, "virNWFilterDefineXML"),
        (252, "virDomainSetBlockIoTune"),
        (341, "virNetworkGetDHCPLeases"),
        (352, "virDomainPinIOThread"),
        (395, "virNodeGetSEVInfo"),
        (424, "virDomainAuthorizedSSHKeysGet"),
        (443, "virDomainFDAssociate"),
        (452, "virDomainDelThrottleGroup"),
    ],
)
def test_what_clients_call_what_is_not_served(number: int, function: str) -> None:
    assert remote.PROGRAM.function is not None
    assert remote.PROGRAM.function(remote.PROGRAM.name_of(number)) == function


def test_which_calls_open_streams() -> None:
    found = {row.number: row.stream for row in remote.PROGRAM if row.stream is not StreamDirection.NONE}
    assert found == {
        201: StreamDirection.BOTH,
        208: StreamDirection.WRITE,
        209: StreamDirection.READ,
        296: StreamDirection.BOTH,
        211: StreamDirection.READ,
        148: StreamDirection.WRITE,
        215: StreamDirection.WRITE,
        304: StreamDirection.WRITE,
    }


def test_every_migration_step_needs_a_writable_connection() -> None:
    steps = [row for row in remote.PROGRAM if row.name.startswith("DOMAIN_MIGRATE_") and "_GET_" not in row.name]
    assert len(steps) == 20
    assert not any(row.read_only for row in steps)


def test_calls_that_answer_nothing_change_something() -> None:
    """A call without a result is made for its effect, so a read-only connection may make only those of its own."""
    own = {"CONNECT_", "AUTH_"}
    for row in ROWS:
        if row.ret is Void and not any(row.name.startswith(prefix) for prefix in own):
            assert not row.read_only, row.name


def test_what_moves_a_guests_memory_is_waited_for() -> None:
    long = {row.name for row in ROWS if row.wait is Wait.LONG}
    performs = {"DOMAIN_MIGRATE_PERFORM", "DOMAIN_MIGRATE_PERFORM3", "DOMAIN_MIGRATE_PERFORM3_PARAMS"}
    ways = ("", "_FLAGS", "_PARAMS")
    saves = {f"DOMAIN_{verb}{way}" for verb in ("SAVE", "RESTORE") for way in ways} | {"DOMAIN_MANAGED_SAVE"}
    assert long == performs | saves


def test_every_domain_event_has_its_message() -> None:
    assert set(remote_event.DOMAIN_EVENTS) == set(constants_state.EventID)
    for message in remote_event.DOMAIN_EVENTS.values():
        assert "callback_id" in message.body.__annotations__


def test_two_culverts_speak_the_newest_wire_that_both_have() -> None:
    every = culvert.WIRES
    assert culvert.wire(every) == culvert.WIRE
    assert culvert.wire([]) == 1  # culvert 0.1.0 says nothing of it
    assert culvert.wire(["pump", culvert.wire_ability(1)]) == 1
    assert culvert.wire([*every, culvert.wire_ability(culvert.WIRE + 1)]) == culvert.WIRE
