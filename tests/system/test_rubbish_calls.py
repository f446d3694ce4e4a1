"""Rubbish in calls: every procedure, arguments without sense, XML of any kind: always a refusal that says why.

The fixture ``host`` looks after each test that nothing has come of it. All rubbish is seeded and bounded.
"""

from __future__ import annotations

import random
import struct
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from culvert.daemon.server import handlers
from culvert.daemon.service import Service
from culvert.ground import errors
from culvert.protocol import (
    culvert,
    culvert_wire_1,
    qemu,
    remote_connect,
    remote_domain,
    remote_list,
    remote_migrate,
    shapes,
    types,
)
from culvert.protocol.procedure import Procedure
from culvert.wire.packet import PacketStatus
from culvert.xdr.codec import XdrError
from culvert.xdr.struct import Void, codec_of, decode, encode
from tests.protocol import examples
from tests.support.daemon import DaemonProcess
from tests.support.raw import NOBODY, Raw
from tests.support.virsh import virsh

SERVED: list[Procedure[Any, Any]] = [row for each in handlers(cast(Service, None)) for row in each]
ARGUMENTS = [row for row in SERVED if row.args is not Void]


# ---- calls --------------------------------------------------------------------------------------------------------


def test_programs_versions_and_procedures_that_do_not_exist(host: DaemonProcess) -> None:
    with Raw(host) as raw:
        raw.open()
        for changed, words in (
            ({"program": 1}, "Cannot find program 1 version 1"),
            ({"program": 0xFFFFFFFF}, "Cannot find program"),
            ({"version": 2}, "Cannot find program"),
            ({"procedure": 0}, "unknown procedure: 0"),
            ({"procedure": -1}, "unknown procedure: -1"),
            ({"procedure": 2**31 - 1}, "unknown procedure"),
            ({"status": PacketStatus.ERROR}, "unexpected message status"),
        ):
            found = raw.ask(remote_connect.CONNECT_GET_TYPE, b"", **changed)
            assert isinstance(found, types.Error)
            assert found.code == errors.ErrorCode.RPC
            assert words in (found.message or "")
        known = raw.ask(remote_connect.CONNECT_GET_TYPE, b"", procedure=220)
        assert isinstance(known, types.Error)
        assert known.code == errors.ErrorCode.NO_SUPPORT
        assert "not supported by the connection driver: virInterfaceChangeBegin" in (known.message or "")
        assert raw.call(remote_connect.CONNECT_GET_TYPE, Void()).type == "QEMU"


def test_calls_before_open(host: DaemonProcess) -> None:
    with Raw(host) as raw:
        for row in SERVED:
            if row.before_open or row.before_auth:
                continue
            found = raw.ask(row, b"")
            assert isinstance(found, types.Error), row.name
            assert "connection not open" in (found.message or ""), row.name


def undecodable(row: Procedure[Any, Any], payload: bytes) -> bool:
    """Whether ``payload`` holds no arguments of ``row``."""
    try:
        decode(row.args, payload)
    except XdrError:
        return True
    return False


def test_undecodable_arguments_of_every_procedure(host: DaemonProcess) -> None:
    rubbish = [b"", b"\0", b"\xff" * 4, b"\xff" * 64, struct.pack(">I", 4 << 20), b"\x7f\xff\xff\xff" * 16]
    rubbish += [random.Random(number).randbytes(40) for number in range(6)]
    asked = 0
    with Raw(host) as raw:
        raw.open()
        for row in ARGUMENTS:
            for payload in rubbish:
                # What passes a descriptor is refused by the transport before anybody looks at the arguments.
                if row is not remote_domain.DOMAIN_OPEN_GRAPHICS_FD and undecodable(row, payload):
                    asked += 1
                    found = raw.ask(row, payload)
                    assert isinstance(found, types.Error), row.name
                    assert f"Unable to decode message payload of {row.name}" in (found.message or "")
    assert asked > 5 * len(ARGUMENTS)


# What a random call may do to the connection itself, or to the machine, is another test's subject.
QUIET = [row for row in ARGUMENTS if row not in (remote_connect.CONNECT_OPEN,)]


@pytest.mark.parametrize("row", QUIET, ids=lambda row: row.name)
@seed(2)
@settings(max_examples=12, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_arguments_of_every_procedure(host: DaemonProcess, row: Procedure[Any, Any], data: st.DataObject) -> None:
    """Well-formed and without sense: an answer or a refusal, never a bug of ours."""
    with Raw(host) as raw:
        raw.open()
        found = raw.ask(row, encode(data.draw(examples.values(codec_of(row.args)))))
        if isinstance(found, types.Error):
            assert found.code > 0
            assert f"internal error: {row.name}" not in (found.message or ""), found.message


STRANGE = ["", "\0", "a\0b", "\n", "../../etc/passwd", ".", "..", "x" * 5000, "\udcff\udcfe", "-", "%s%n", "👻" * 300]


@pytest.mark.parametrize(
    "row", [remote_domain.DOMAIN_DEFINE_XML, remote_domain.DOMAIN_CREATE_XML], ids=lambda row: row.name
)
def test_strange_names(host: DaemonProcess, row: Procedure[Any, Any]) -> None:
    args = shapes.XMLArgs if row is remote_domain.DOMAIN_DEFINE_XML else shapes.XMLFlagsArgs
    with Raw(host) as raw:
        raw.open()
        for name in STRANGE:
            escaped = name.replace("&", "&amp;").replace("<", "&lt;")
            xml = f"<domain type='qemu'><name>{escaped}</name><memory>1</memory><os><type>hvm</type></os></domain>"
            found = raw.ask(row, encode(args(xml) if args is shapes.XMLArgs else shapes.XMLFlagsArgs(xml, 0)))
            if not isinstance(found, types.Error):  # a strange name, but one that can be had
                dom = decode(shapes.DomainRet, found).dom
                assert dom.name == name
                end = (
                    remote_domain.DOMAIN_UNDEFINE
                    if row is remote_domain.DOMAIN_DEFINE_XML
                    else remote_domain.DOMAIN_DESTROY
                )
                raw.call(end, shapes.DomainArgs(dom))
            found = raw.ask(remote_list.DOMAIN_LOOKUP_BY_NAME, encode(remote_list.NameArgs(name)))
            assert isinstance(found, types.Error)
            assert found.code == errors.ErrorCode.NO_DOMAIN


def huge_documents() -> dict[str, str]:
    """XML that is large, deep, wide or sly."""
    head, tail = "<domain type='qemu'><name>g</name><metadata>", "</metadata></domain>"
    attributes = " ".join(f"a{n}=''" for n in range(200_000))
    bomb = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 9))
    return {
        "deep": head + "<a>" * 200_000 + "</a>" * 200_000 + tail,
        "deep, not closed": "<a>" * 1_000_000,
        "wide": head + "<a/>" * 900_000 + tail,
        "many attributes": f"<domain {attributes}/>",
        "long text": head + "x" * (4_000_000) + tail,
        "long attribute": f"<domain type='{'x' * 4_000_000}'/>",
        "entities": f"<!DOCTYPE d [<!ENTITY e0 'x'>{bomb}]><domain><name>&e8;</name></domain>",
        "file": "<!DOCTYPE d [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><domain><name>&f;</name></domain>",
        "network": "<!DOCTYPE d SYSTEM 'http://127.0.0.1:1/d.dtd'><domain/>",
        "not XML": "\0" * 100_000,
        "not text": "<domain>\udcff</domain>",
        "namespaces": "<x:domain xmlns:x='urn:x'/>",
        "comments": "<!--" + "x" * 1_000_000 + "--><domain/>",
        "instructions": "<?x y?>" * 100_000 + "<domain/>",
    }


@pytest.mark.parametrize("name", sorted(huge_documents()))
def test_deep_and_huge_xml(host: DaemonProcess, name: str) -> None:
    xml = huge_documents()[name]
    with Raw(host) as raw:
        raw.open()
        for row, args in (
            (remote_domain.DOMAIN_DEFINE_XML, shapes.XMLArgs(xml)),
            (remote_domain.DOMAIN_CREATE_XML, shapes.XMLFlagsArgs(xml, 0)),
        ):
            found = raw.ask(row, encode(args))
            assert isinstance(found, types.Error), name
            assert found.code in (errors.ErrorCode.XML_ERROR, errors.ErrorCode.CONFIG_UNSUPPORTED)
            assert len(found.message or "") < 20_000
    assert virsh("list", uri=host.tcp_uri).expect()


def test_an_xml_longer_than_a_string_may_be(host: DaemonProcess) -> None:
    with Raw(host) as raw:
        raw.open()
        found = raw.ask(remote_domain.DOMAIN_DEFINE_XML, struct.pack(">I", 8 << 20) + bytes(8 << 20))
        assert isinstance(found, types.Error)
        assert found.code == errors.ErrorCode.RPC


def test_a_name_as_long_as_a_string_may_be(host: DaemonProcess) -> None:
    with Raw(host) as raw:
        found = raw.open().ask(
            remote_list.DOMAIN_LOOKUP_BY_NAME, encode(remote_list.NameArgs("x" * types.STRING_MAX))
        )
        assert isinstance(found, types.Error)
        assert found.code == errors.ErrorCode.NO_DOMAIN


def test_typed_parameters_without_sense(host: DaemonProcess) -> None:
    lists = [
        [types.TypedParam("bogus", (1, 1))],
        [types.TypedParam("bandwidth", (7, "fast"))],
        [types.TypedParam("bandwidth", (4, 2**64 - 1)), types.TypedParam("bandwidth", (4, 1))],
        [types.TypedParam("destination_xml", (7, "<" * 100_000))],
        [types.TypedParam("migrate_uri", (7, "tcp://[::"))],
        [types.TypedParam("destination_name", (7, "../../../x"))],
        [types.TypedParam("\udcff", (5, float("nan")))],
        [types.TypedParam("migrate_disks", (7, "vda"))] * 64,
    ]
    rows = (remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS, remote_migrate.DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS)
    with Raw(host) as raw:
        raw.open()
        for params in lists:
            for flags in (0, 6, 1 << 10, 0xFFFFFFFF):
                for row in rows:
                    found = raw.ask(row, encode(remote_migrate.Prepare3ParamsArgs(params, b"", flags)))
                    assert isinstance(found, types.Error)
        sixty_five = encode(remote_migrate.Prepare3ParamsArgs(lists[7], b"", 0)).replace(b"\0\0\0@", b"\0\0\0A", 1)
        found = raw.ask(rows[0], sixty_five)
        assert isinstance(found, types.Error)
        assert "longer than 64" in (found.message or "")


def test_own_programs_with_rubbish(host: DaemonProcess) -> None:
    with Raw(host) as raw:
        raw.open()
        for token in ("", "x", "é", "\udcff", "x" * 1_000_000):
            found = raw.ask(
                culvert.MIGRATION_ATTACH, encode(culvert.MigrationAttachArgs(token, token[:1000], token[:1000]))
            )
            assert isinstance(found, types.Error)
            assert found.code == errors.ErrorCode.AUTH_FAILED
            told = raw.call(culvert.MIGRATION_OUTCOME, culvert.MigrationOutcomeArgs(NOBODY, token, token))
            assert told.outcome == culvert.Outcome.UNKNOWN
            bare = culvert_wire_1.MigrationOutcome1Args(NOBODY, token)
            assert raw.call(culvert_wire_1.MIGRATION_OUTCOME_1, bare).outcome == culvert.Outcome.UNKNOWN
        found = raw.ask(qemu.DOMAIN_MONITOR_COMMAND, encode(qemu.MonitorCommandArgs(NOBODY, "x" * 100_000, 0)))
        assert isinstance(found, types.Error)
        assert found.code == errors.ErrorCode.NO_DOMAIN


def test_an_identity_that_would_write_log_lines_of_its_own(host: DaemonProcess) -> None:
    with Raw(host) as raw:
        raw.open()
        forged = "\n2026-01-01 00:00:00,000 INFO forged \x1b[2J\udcff" + "x" * 1_000_000
        raw.call(
            remote_connect.CONNECT_SET_IDENTITY,
            remote_connect.SetIdentityArgs([types.TypedParam(forged, (7, forged))], 0),
        )
    assert "\n2026-01-01 00:00:00,000 INFO forged" not in host.log
    assert "Logging error" not in host.log
    lines = [line for line in host.log.splitlines() if "identity=" in line]
    assert lines
    assert all(len(line) < 1000 for line in lines)
