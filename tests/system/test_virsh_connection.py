"""The real virsh and the connection itself: who is there, what the host can do, and what is refused."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest
from lxml import etree

from culvert.ground import errors
from culvert.ground import uri as uris
from culvert.protocol import remote_connect
from culvert.rpc import client as rpc
from guests import domain_xml
from tests.support import generation
from tests.support.daemon import DaemonProcess
from tests.support.generation import Program
from tests.support.guest import running_tiny, state_of
from tests.support.libvirt_python import libvirt_python
from tests.support.terminal import Terminal
from tests.support.virsh import virsh

SCHEMAS = Path("/usr/share/libvirt/schemas")  # of Debian's libvirt0


def test_who_is_there(uri: str, host_a: DaemonProcess) -> None:
    assert virsh("connect", uri=uri).ok
    version = virsh("version", "--daemon", uri=uri).expect()
    # The daemon says that it is the libvirt of its host; virsh says of the API what its own library is.
    assert f"Running against daemon: {generation.text(Program.VIRSH)}\n" in version
    assert f"Using API: QEMU {generation.text(Program.VIRSH)}\n" in version
    assert re.search(r"^Running hypervisor: QEMU \d+\.\d+\.\d+$", version, re.MULTILINE)
    assert virsh("uri", uri=uri).expect().strip() == uri
    assert virsh("hostname", uri=uri).expect().strip() == socket.gethostname()


def test_the_host_name_of_the_configuration(folder: Path) -> None:
    root = folder / "named"
    root.mkdir()
    with DaemonProcess(root, config="[daemon]\nhostname = 'somewhere.example'\n") as daemon:
        assert virsh("hostname", uri=daemon.uri).expect().strip() == "somewhere.example"


def test_other_ways_to_name_it(host_a: DaemonProcess) -> None:
    for other in (
        host_a.tcp_uri.replace("/system", "/session"),
        host_a.uri.replace("/system", "/session"),  # a user's own daemon: the client's flags say so
        host_a.tcp_uri + "?no_verify=1&whatever=2",
        host_a.tcp_uri.replace("qemu+tcp", "remote+tcp"),
        host_a.tcp_uri.replace("qemu+tcp", "remote+tcp").replace("/system", "/"),  # the server finds the driver
    ):
        assert "QEMU" in virsh("version", uri=other).expect(), other
    for wrong in ("qemu+tcp://{}/nonsense", "test+tcp://{}/default", "xen+tcp://{}/"):
        result = virsh("version", uri=wrong.format(f"127.0.0.1:{host_a.port}"))
        assert "no connection driver available" in result.err, result
    assert virsh("version", uri=host_a.uri).ok


def test_capabilities(uri: str, host_a: DaemonProcess) -> None:
    told = etree.fromstring(virsh("capabilities", uri=uri).expect().encode())
    etree.RelaxNG(file=str(SCHEMAS / "capability.rng")).assertValid(told)
    host_uuid = (host_a.root / "lib" / "host-uuid").read_text().strip()
    assert told.findtext("host/uuid") == host_uuid
    assert told.findtext("host/cpu/arch") == "x86_64"
    assert told.find("host/migration_features/live") is not None
    guests = {guest.find("arch").get("name"): guest for guest in told.findall("guest")}  # type: ignore[union-attr]
    assert set(guests) == {"x86_64", "i686"}
    guest = guests["x86_64"]
    assert guest.findtext("os_type") == "hvm"
    (arch,) = guest.findall("arch")
    assert arch.findtext("wordsize") == "64"
    emulator = arch.findtext("emulator")
    assert emulator is not None
    assert os.access(emulator, os.X_OK)
    machines = {machine.text: machine.get("canonical") for machine in arch.findall("machine")}
    for alias in ("pc", "q35"):
        canonical = machines[alias]
        assert canonical is not None
        assert canonical in machines, alias
        assert canonical.startswith(f"pc-{'i440fx' if alias == 'pc' else alias}-")
    assert "qemu" in [domain.get("type") for domain in arch.findall("domain")]


def test_nodeinfo(uri: str) -> None:
    lines = [line for line in virsh("nodeinfo", uri=uri).expect().splitlines() if line.strip()]
    told = {name.strip(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    assert told["CPU model"] == "x86_64"
    assert 1 <= int(told["CPU(s)"]) <= (os.cpu_count() or 1)
    total = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert total is not None
    assert told["Memory size"] == f"{total.group(1)} KiB"
    parts = [
        int(told[name]) for name in ("CPU socket(s)", "Core(s) per socket", "Thread(s) per core", "NUMA cell(s)")
    ]
    assert parts[0] * parts[1] * parts[2] * parts[3] >= int(told["CPU(s)"])
    assert "KiB" in virsh("freecell", uri=uri).expect()
    assert int(virsh("maxvcpus", uri=uri).expect()) > 1


def test_how_many_processors_by_the_kind_of_guest(uri: str) -> None:
    told = libvirt_python(
        """
        for kind in (None, "qemu", "KVM", "nonsense", ""):
            try:
                print(connection.getMaxVcpus(kind))
            except libvirt.libvirtError as err:
                print(err.get_error_code(), err)
        """,
        uri,
    )
    assert told.splitlines() == [
        *("16", "16", "255"),
        *("8 invalid argument: unknown type 'nonsense'", "8 invalid argument: unknown type ''"),
    ]


def test_many_commands_on_one_connection(uri: str, host_a: DaemonProcess) -> None:
    before = _sessions(host_a)
    with Terminal(uri) as terminal:
        terminal.wait_for("virsh # ")
        for number, (command, answer) in enumerate(
            [
                ("hostname", socket.gethostname()),
                ("list --all", "Id   Name   State"),
                ("domstate nobody", "failed to get domain 'nobody'"),
                ("nodeinfo", "CPU model"),
                ("uri", uri),
                ("list --all --name", ""),
            ],
            start=2,
        ):
            terminal.press(command + "\n")
            assert answer in terminal.wait_for("virsh # ", number).split(command)[-1]
        terminal.press("quit\n")
        assert terminal.finish() == 0
    assert _sessions(host_a) == before + 1


def _sessions(host: DaemonProcess) -> int:
    return host.log.count("session open")


def test_an_unsupported_command_says_so_and_the_connection_lives_on(uri: str, host_a: DaemonProcess) -> None:
    before = _sessions(host_a)
    with Terminal(uri) as terminal:
        terminal.wait_for("virsh # ")
        for number, command in enumerate(
            ["iface-begin", "iface-commit", "iface-rollback", "nodedev-create /etc/hostname"]
        ):
            terminal.press(command + "\n")
            shown = terminal.wait_for("virsh # ", 2 * number + 2)
            assert "is not supported by the connection driver: vir" in shown.split(command)[-1]
            terminal.press("hostname\n")
            shown = terminal.wait_for("virsh # ", 2 * number + 3)
            assert socket.gethostname() in shown.split("hostname")[-1]
    assert _sessions(host_a) == before + 1


def test_what_is_not_kept_is_listed_as_empty(uri: str) -> None:
    for command in ("net-list --all", "pool-list --all", "iface-list --all"):
        heading, _line, *rows = virsh(*command.split(), uri=uri).expect().strip().splitlines()
        assert "Name" in heading
        assert rows == []
    assert virsh("nodedev-list", uri=uri).expect().split() == []


def test_a_read_only_connection_sees_and_does_not_change(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, persistent=True) as guest:
        xml = str(guest.guest.serial.with_suffix(".xml"))
        virsh("define", str(domain_xml.tiny_guest(folder, "idle").write_xml()), uri=uri).expect()
        for looked in (
            ("list", "--all"),
            ("dominfo", guest.name),
            ("domstate", "--reason", guest.name),
            ("dumpxml", guest.name),
            ("dumpxml", "--inactive", guest.name),
            ("domjobinfo", guest.name),
            ("capabilities",),
            ("nodeinfo",),
        ):
            assert virsh("-r", *looked, uri=uri).ok, looked
        for changing in (
            ("suspend", guest.name),
            ("resume", guest.name),
            ("shutdown", guest.name),
            ("reboot", guest.name),
            ("reset", guest.name),
            ("destroy", guest.name),
            ("destroy", "--graceful", guest.name),
            ("undefine", guest.name),
            ("define", xml),
            ("create", xml),
            ("start", "idle"),
            ("start", "--paused", "idle"),
            ("qemu-monitor-command", guest.name, "query-status"),
            ("screenshot", guest.name, str(folder / "picture")),
            ("domjobabort", guest.name),
            ("migrate-setspeed", guest.name, "1"),
            ("migrate-setmaxdowntime", guest.name, "1"),
            ("migrate", "--p2p", guest.name, "qemu+tcp://127.0.0.1:1/system"),
            ("dumpxml", "--security-info", guest.name),
            ("dumpxml", "--migratable", guest.name),
        ):
            result = virsh("-r", *changing, uri=uri)
            assert not result.ok, changing
            assert "forbidden" in result.err, (changing, result)
        assert state_of(guest.uuid, host_a) == "running"
        assert state_of("idle", host_a) == "shut off"
        guest.watch.check()


def test_refusals_of_a_read_only_connection_leave_it_open(uri: str, host_a: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest, Terminal(uri, "-r") as terminal:
        terminal.wait_for("virsh > ")
        terminal.press(f"suspend {guest.name}\n")
        assert "read only access prevents" in terminal.wait_for("virsh > ", 2)
        terminal.press(f"domstate {guest.name}\n")
        assert "\nrunning\n" in terminal.wait_for("virsh > ", 3)


@pytest.mark.parametrize("wrong", ["qemu+unix:///system?socket=/nowhere/sock", "qemu+tcp://127.0.0.1:1/system"])
def test_nobody_there(wrong: str) -> None:
    result = virsh("list", uri=wrong)
    assert not result.ok
    assert "failed to connect" in result.err


async def test_flags_of_a_client_that_is_not_root(host_a: DaemonProcess) -> None:
    """Such a virsh sends 6 (its own daemon, started if need be), a read-only one 7. Other bits mean nothing."""
    async with rpc.connect(uris.parse(host_a.uri)) as client:
        for flags in (6, 7, 2, 0):
            await client.call(remote_connect.CONNECT_OPEN, remote_connect.ConnectOpenArgs("qemu:///session", flags))
        with pytest.raises(errors.RemoteError, match="unsupported flags"):
            await client.call(remote_connect.CONNECT_OPEN, remote_connect.ConnectOpenArgs("qemu:///session", 8))
