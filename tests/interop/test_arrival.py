"""A source that is no culvert comes with what this host has not, or insists on what it does not know."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.ground.errors import ErrorCode
from culvert.migration.handover.machine import Step
from culvert.migration.journal.history import Begun, Direction, Key
from culvert.migration.journal.journal import Journal
from culvert.migration.options import cookie
from culvert.protocol import constants_migrate, remote_migrate, typed_params
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.rpc import client as rpc
from culvert.rpc import prologue
from tests.support.daemon import DaemonProcess
from tests.support.guest import state_of
from tests.support.interop import guest
from tests.support.virsh import virsh

TUNNEL = int(MigrateFlag.LIVE | MigrateFlag.PEER2PEER | MigrateFlag.TUNNELLED)
NATIVE = int(MigrateFlag.LIVE | MigrateFlag.PEER2PEER)

FULL = "<cpu mode='custom' match='exact' check='full'><model>{model}</model>{feature}</cpu>"

# What is changed in the XML and in the cookie, the code and the words of the refusal.
REFUSED = [
    (("machine='pc'", "machine='pc-i440fx-99.2'"), b"", ErrorCode.CONFIG_UNSUPPORTED, "type 'pc-i440fx-99.2'"),
    (
        ("<features>", "<cpu mode='custom'><model>Pentium-IX</model></cpu><features>"),
        b"",
        ErrorCode.CPU_INCOMPATIBLE,
        "/domain/cpu/model 'Pentium-IX'",
    ),
    (("", ""), FULL.format(model="Pentium-IX", feature="").encode(), ErrorCode.CPU_INCOMPATIBLE, "Pentium-IX"),
    (
        ("", ""),
        FULL.format(model="qemu64", feature="<feature policy='require' name='pcid'/>").encode(),
        ErrorCode.CPU_INCOMPATIBLE,
        "cannot provide /domain/cpu/feature 'pcid'",
    ),
    (
        ("", ""),
        FULL.format(model="qemu64", feature="<signature family='6'/>").encode(),
        ErrorCode.CONFIG_UNSUPPORTED,
        "/cpu/signature",
    ),
    (("", ""), b"<feature name='cpu-hotplug'/>", ErrorCode.INTERNAL_ERROR, "cpu-hotplug"),
    (("", ""), b"<feature name='nbd'/><nbd port='1'/>", ErrorCode.INTERNAL_ERROR, "nbd"),
    (
        ("</devices>", "<lease/></devices>"),
        b"",
        ErrorCode.CONFIG_UNSUPPORTED,
        "/domain/devices/lease",
    ),
]


async def prepare(client: rpc.Client, args: remote_migrate.Prepare3ParamsArgs) -> None:
    if args.flags == TUNNEL:
        await client.open_stream(remote_migrate.DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS, args)
    else:
        await client.call(remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS, args)


@pytest.mark.parametrize("flags", [TUNNEL, NATIVE], ids=["tunnel", "native"])
async def test_refused_and_nothing_left(host_a: DaemonProcess, folder: Path, flags: int) -> None:
    made = guest(folder, "arriving")
    theirs = cookie.Cookie("arriving", made.domain.uuid, "elsewhere", uuid.uuid4())
    async with rpc.connect(host_a.tcp_uri) as client:
        await prologue.open_connection(client)
        for (before, after), extra, code, words in REFUSED:
            xml = made.xml.replace(before, after) if before else made.xml
            cookie_in = cookie.build(theirs).replace(b"</hostuuid>", b"</hostuuid>" + extra)
            values = [("destination_name", "arriving"), ("destination_xml", xml)]
            args = remote_migrate.Prepare3ParamsArgs(
                typed_params.encode(values, constants_migrate.MIGRATE_PARAMS), cookie_in, flags
            )
            with pytest.raises(errors.RemoteError) as caught:
                await prepare(client, args)
            assert caught.value.remote_code == code, caught.value
            assert words in caught.value.message
            host_a.assert_no_leftovers()


@pytest.mark.parametrize("running", [True, False], ids=["runs", "waits"])
async def test_found_after_a_restart(host_a: DaemonProcess, folder: Path, running: bool) -> None:
    """A libvirtd's guest has no attempt that could be looked up: one that runs has arrived, and stays."""
    made = guest(folder, "arrived")
    virsh("create", *(() if running else ("--paused",)), str(made.write_xml()), uri=host_a.uri).expect()
    host_a.stop()
    (path,) = host_a.root.rglob("migrations.sqlite")
    journal = Journal(path)
    await journal.open()
    key = Key("0" * 32, Direction.IN)
    await journal.begin(Begun(key, "arrived", str(made.domain.uuid), stock=True), Step.PREPARE)
    await journal.write(key, Step.FINISH3)
    await journal.close()
    host_a.start()
    if not running:
        host_a.assert_no_leftovers()
        return
    assert state_of("arrived", host_a) == "running"
    virsh("suspend", "arrived", uri=host_a.uri).expect()
    host_a.restart()
    assert state_of("arrived", host_a) == "paused"


@pytest.mark.parametrize("asked", [None, "tcp://there.example", "tcp://[fe80::1]", "rdma://x"])
async def test_where_a_libvirtd_is_to_send_without_a_tunnel(
    host_a: DaemonProcess, folder: Path, asked: str | None
) -> None:
    made = guest(folder, "arriving")
    theirs = cookie.Cookie("arriving", made.domain.uuid, "elsewhere", uuid.uuid4())
    values = [("destination_name", "arriving"), ("destination_xml", made.xml)]
    values += [("migrate_uri", asked)] if asked else []
    params = typed_params.encode(values, constants_migrate.MIGRATE_PARAMS)
    async with rpc.connect(host_a.tcp_uri) as client:
        await prologue.open_connection(client)
        args = remote_migrate.Prepare3ParamsArgs(params, cookie.build(theirs), NATIVE)
        if asked == "rdma://x":
            with pytest.raises(errors.RemoteError, match="tcp://HOST"):
                await client.call(remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS, args)
            return
        answer = await client.call(remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS, args)
        assert answer.uri_out == f"{asked or 'tcp://127.0.0.1'}:{host_a.port}"
        assert cookie.parse(answer.cookie_out) == replace(
            cookie.parse(answer.cookie_out), name="arriving", uuid=made.domain.uuid, attempt=""
        )
    host_a.assert_no_leftovers()
