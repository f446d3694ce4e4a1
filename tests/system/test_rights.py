"""Who may do what, with real daemons and an unmodified virsh that is another user's."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from culvert.ground import errors
from culvert.protocol import access, culvert, qemu, remote
from culvert.rpc import prologue
from culvert.rpc.client import connect
from culvert.xdr.struct import codec_of
from guests import domain_xml
from tests.support.culvert import culvert as run_culvert
from tests.support.daemon import DaemonProcess
from tests.support.guest import SMALL, running_tiny
from tests.support.virsh import Result, virsh
from tests.support.wait import wait_for

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed: root can be one")

POLICY = """
[[allow]]
who = ["user:nobody"]
may = ["domain.*"]
guests = ["web-*"]

[[allow]]
who = ["uid:65534"]
may = ["domain.getattr", "domain.read"]
tags = ["public"]
"""


def as_nobody(*words: str, uri: str) -> Result:
    return virsh(*words, uri=uri, within=AS_NOBODY)


@pytest.fixture
def open_folder(folder: Path) -> Path:
    """The folder of the daemons, which others may enter."""
    folder.chmod(0o755)
    return folder


@pytest.fixture
def guarded(open_folder: Path) -> Iterator[DaemonProcess]:
    """A daemon with ``POLICY`` whose socket is everybody's."""
    policy = open_folder / "policy.toml"
    policy.write_text(POLICY)
    config = f'[daemon]\nunix_socket_mode = 0o666\npolicy = "{policy}"\n'
    with DaemonProcess(open_folder / "g", config=config) as daemon:
        yield daemon


def xml(folder: Path, name: str, **more: Any) -> str:
    path = folder / f"{name}.xml"
    path.write_text(domain_xml.tiny_guest(folder, name, SMALL, **more).xml)
    path.chmod(0o644)
    return str(path)


def audited(daemon: DaemonProcess) -> list[dict[str, Any]]:
    """What the record has."""
    path = daemon.root / "log" / "audit.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_tenant_has_its_own_guests_and_sees_no_others(guarded: DaemonProcess, open_folder: Path) -> None:
    db, public = (xml(open_folder, name) for name in ("db-1", "about"))
    for path in (db, public):
        virsh("define", path, uri=guarded.uri).expect()
    tag = ("urn:culvert:tags", "--key", "culvert", "--set", "<tags>public</tags>")
    virsh("metadata", "about", *tag, uri=guarded.uri).expect()
    as_nobody("define", xml(open_folder, "web-1"), uri=guarded.uri).expect()
    assert as_nobody("list", "--all", "--name", uri=guarded.uri).expect().split() == ["about", "web-1"]
    assert "db-1" not in as_nobody("domstats", uri=guarded.uri).expect()
    as_nobody("dumpxml", "about", uri=guarded.uri).expect()
    uuid = virsh("domuuid", "db-1", uri=guarded.uri).expect().strip()
    for key in ("db-1", uuid):
        hidden, unknown = (as_nobody("start", each, uri=guarded.uri).err for each in (key, "db-9"))
        assert hidden.replace(key, "db-9") == unknown
    refused = as_nobody("undefine", "about", uri=guarded.uri).err
    assert "access denied: DOMAIN_UNDEFINE" in refused
    assert "'domain.delete' of domain 'about'" in refused
    assert "user:nobody" in refused
    assert "'domain.write' of a domain 'db-2'" in as_nobody("define", xml(open_folder, "db-2"), uri=guarded.uri).err
    assert "access denied" in as_nobody("create", xml(open_folder, "db-2"), uri=guarded.uri).err
    assert "access denied" in as_nobody("pool-define-as", "p", "dir", "--target", "/tmp/p", uri=guarded.uri).err
    assert "db-2" not in virsh("list", "--all", "--name", uri=guarded.uri).expect()
    as_nobody("undefine", "web-1", uri=guarded.uri).expect()


def test_nor_takes_another_s_place(guarded: DaemonProcess, open_folder: Path) -> None:
    """A name of its own with the UUID of a guest that is not: that guest would be changed."""
    virsh("define", xml(open_folder, "db-1"), uri=guarded.uri).expect()
    before = virsh("dumpxml", "db-1", uri=guarded.uri).expect()
    uuid = virsh("domuuid", "db-1", uri=guarded.uri).expect().strip()
    path = Path(xml(open_folder, "web-1"))
    text = path.read_text()
    begin, end = text.index("<uuid>") + 6, text.index("</uuid>")
    path.write_text(text[:begin] + uuid + text[end:])
    assert "access denied" in as_nobody("define", str(path), uri=guarded.uri).err
    assert virsh("dumpxml", "db-1", uri=guarded.uri).expect() == before


def test_a_name_it_may_not_have(guarded: DaemonProcess, open_folder: Path) -> None:
    as_nobody("define", xml(open_folder, "web-1"), uri=guarded.uri).expect()
    assert "access denied" in as_nobody("domrename", "web-1", "db-1", uri=guarded.uri).err
    assert virsh("list", "--all", "--name", uri=guarded.uri).expect().split() == ["web-1"]


def test_a_file_with_another_s_guest_is_not_its_own(guarded: DaemonProcess, open_folder: Path) -> None:
    """Nobody can say of a file whose guest is in it before it has been read: that takes a rule for every guest."""
    file = str(open_folder / "db.save")
    virsh("create", xml(open_folder, "db-1"), uri=guarded.uri).expect()
    virsh("save", "db-1", file, uri=guarded.uri).expect()
    assert "access denied" in as_nobody("save-image-dumpxml", file, uri=guarded.uri).err
    assert "access denied" in as_nobody("restore", file, uri=guarded.uri).err
    assert "db-1" not in virsh("list", "--all", "--name", uri=guarded.uri).expect()


def test_events_are_of_its_own_guests(guarded: DaemonProcess, open_folder: Path) -> None:
    watch = ["virsh", "-c", guarded.uri, "event", "--all", "--loop", "--timeout", "60"]
    log = open_folder / "events"
    with log.open("wb") as output:
        process = subprocess.Popen([*AS_NOBODY, *watch], stdout=output, stderr=output)
    try:
        wait_for(lambda: guarded.log.count("registered") >= 20, "virsh listens")
        for name in ("db-1", "web-1"):
            virsh("define", xml(open_folder, name), uri=guarded.uri).expect()
            virsh("undefine", name, uri=guarded.uri).expect()
        wait_for(lambda: "Undefined" in log.read_text(), "the events have come")
        assert "web-1" in log.read_text()
        assert "db-1" not in log.read_text()
    finally:
        process.kill()
        process.wait()


def test_a_policy_is_read_again_and_a_bad_one_changes_nothing(guarded: DaemonProcess, open_folder: Path) -> None:
    virsh("define", xml(open_folder, "db-1"), uri=guarded.uri).expect()
    policy = open_folder / "policy.toml"
    policy.write_text(POLICY.replace("web-*", "db-*"))
    guarded.reload()
    wait_for(lambda: "policy reloaded" in guarded.log, "it is read")
    assert as_nobody("list", "--all", "--name", uri=guarded.uri).expect().split() == ["db-1"]
    policy.write_text("[[allow]]\nwho = []\n")
    guarded.reload()
    wait_for(lambda: "the policy is as it was" in guarded.log, "it is refused")
    assert as_nobody("list", "--all", "--name", uri=guarded.uri).expect().split() == ["db-1"]


def test_without_a_rule_nobody_comes_in(guarded: DaemonProcess) -> None:
    (guarded.root.parent / "policy.toml").write_text("")
    guarded.reload()
    wait_for(lambda: "policy reloaded" in guarded.log, "it is read")
    assert "access denied: CONNECT_OPEN" in as_nobody("list", uri=guarded.uri).err
    virsh("list", uri=guarded.uri).expect()


def test_clear_text_over_loopback_is_for_the_daemon_s_own_user(host_a: DaemonProcess, open_folder: Path) -> None:
    refused = as_nobody("list", uri=host_a.tcp_uri).err
    assert f"user {NOBODY}'s" in refused
    assert "clear-text TCP over loopback" in refused
    virsh("list", uri=host_a.tcp_uri).expect()


def test_the_read_only_socket_is_everybody_s(host_a: DaemonProcess, open_folder: Path) -> None:
    only = f"qemu+unix:///system?socket={host_a.root}/run/culvert-sock-ro"
    with running_tiny(host_a, open_folder) as guest:
        assert guest.name in as_nobody("list", "--name", uri=only).expect()
        assert "read-only" in as_nobody("destroy", guest.name, uri=only).err
        assert "read-only" in virsh("destroy", guest.name, uri=only).err, "root by that socket, too"
        refused = as_nobody("dumpxml", guest.name, "--security-info", uri=only).err
        assert "read-only" in refused or "denied" in refused or "forbidden" in refused


def zeros(kind: type[Any]) -> Any:
    """Arguments of that kind as zeros on the wire are read: nothing everywhere."""
    return codec_of(kind).unpack(memoryview(bytes(4096)), 0)[0]


async def test_who_may_only_look_is_refused_every_call_that_is_more(host_a: DaemonProcess) -> None:
    """Each call of the table, by the read-only socket and without having said so."""
    only = f"qemu+unix:///system?socket={host_a.root}/run/culvert-sock-ro"
    programs = [remote.PROGRAM, qemu.PROGRAM, culvert.PROGRAM]
    tried = 0
    async with connect(only, programs=programs) as client:
        await prologue.open_connection(client, "qemu:///system")
        for program in programs:
            for row in program:
                if row.read_only or row.acl == access.NONE or row.stream.value != "none" or row.passes:
                    continue
                with pytest.raises(errors.RemoteError) as refused:
                    await client.call(row, zeros(row.args))
                if "is not served" not in str(refused.value) and "not supported by" not in str(refused.value):
                    assert refused.value.remote_code == errors.ErrorCode.OPERATION_DENIED, row.name
                    tried += 1
    assert tried > 60


def test_what_was_done_and_refused_is_written_down(guarded: DaemonProcess, open_folder: Path) -> None:
    as_nobody("define", xml(open_folder, "web-1"), uri=guarded.uri).expect()
    virsh("define", xml(open_folder, "about"), uri=guarded.uri).expect()
    as_nobody("start", "about", uri=guarded.uri)
    as_nobody("undefine", "web-1", uri=guarded.uri).expect()
    wait_for(lambda: len(audited(guarded)) >= 3, "they are written")
    lines = audited(guarded)
    by_call = {(line["call"], line["guest"]): line for line in lines}
    defined = by_call["DOMAIN_DEFINE_XML", "web-1"]
    assert defined["outcome"] == "done"
    assert {"user:nobody", f"uid:{NOBODY}", "way:unix"} <= set(defined["who"])
    assert not any(line["call"] == "CONNECT_GET_HOSTNAME" for line in lines), "to look changes nothing"
    path = guarded.root / "log" / "audit.log"
    assert path.stat().st_mode & 0o777 == 0o600
    told = run_culvert("audit", "--file", str(path), "--who", "user:nobody", uri=guarded.uri).expect()
    assert "DOMAIN_UNDEFINE" in told
    assert "about" not in told
    assert run_culvert("audit", "--file", str(open_folder / "none"), uri=guarded.uri).rc != 0
