"""Virtual networks with the real virsh, iproute2, nftables and dnsmasq, in a network namespace of their own."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess, remove_folder, short_folder
from tests.support.netns import NEEDS, NetworkNamespace, possible
from tests.support.virsh import Running, virsh
from tests.support.wait import wait_for

pytestmark = pytest.mark.skipif(not possible() or shutil.which("dnsmasq") is None, reason=NEEDS)

MAC = "52:54:00:11:22:33"
DEFAULT = """<network>
  <name>default</name>
  <forward mode='{mode}'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.122.2' end='192.168.122.254'/>
    </dhcp>
  </ip>
</network>
"""


@pytest.fixture
def net() -> Iterator[NetworkNamespace]:
    with NetworkNamespace() as namespace:
        yield namespace


@pytest.fixture
def host(net: NetworkNamespace) -> Iterator[DaemonProcess]:
    folder = short_folder()
    folder.chmod(0o755)  # dnsmasq reads its files as its own user
    root = folder / "h"
    root.mkdir()
    with DaemonProcess(root, within=net.within, arguments=["--log-level", "debug"]) as daemon:
        yield daemon
    remove_folder(folder)


def _define(host: DaemonProcess, xml: str) -> None:
    path = host.root / "network.xml"
    path.write_text(xml, encoding="utf-8")
    virsh("net-define", str(path), uri=host.uri).expect()


def _start(host: DaemonProcess, mode: str = "nat") -> None:
    _define(host, DEFAULT.format(mode=mode))
    virsh("net-start", "default", uri=host.uri).expect()


def _pid(host: DaemonProcess) -> int:
    return int((host.root / "run/networks/virbr0.pid").read_text())


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _nothing_is_left(host: DaemonProcess, net: NetworkNamespace) -> None:
    assert net.devices() == {"lo"}
    assert net.rules() == ""
    assert [path.name for path in (host.root / "run/networks").iterdir()] == ["autostarted"]


def _client(net: NetworkNamespace, client: NetworkNamespace) -> None:
    """``client`` has a device on the bridge of the network."""
    net.join(client, "veth0", "eth0")
    client.run("ip", "link", "set", "eth0", "address", MAC)
    net.run("ip", "link", "set", "veth0", "master", "virbr0")


def test_a_life(host: DaemonProcess, net: NetworkNamespace) -> None:
    _start(host)
    pid = _pid(host)
    shown = virsh("net-dumpxml", "default", uri=host.uri).expect()
    assert "<bridge name='virbr0' stp='on' delay='0'/>" in shown
    assert "<mac address='52:54:00:" in shown
    assert "192.168.122.1/24 brd 192.168.122.255" in net.run("ip", "address", "show", "virbr0")
    assert "masquerade to :1024-65535" in net.rules()
    assert net.run("cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
    assert net.run("cat", "/proc/sys/net/ipv6/conf/virbr0/disable_ipv6") == "1\n"
    virsh("net-destroy", "default", uri=host.uri).expect()
    assert not _runs(pid)
    _nothing_is_left(host, net)
    refused = virsh("net-destroy", "default", uri=host.uri)
    assert "Requested operation is not valid: network 'default' is not active" in refused.err
    virsh("net-undefine", "default", uri=host.uri).expect()
    assert virsh("net-list", "--all", "--name", uri=host.uri).expect().split() == []
    assert list((host.root / "lib/dnsmasq").iterdir()) == []


@pytest.mark.parametrize("mode", ["route", "open"])
def test_other_ways(host: DaemonProcess, net: NetworkNamespace, mode: str) -> None:
    _start(host, mode)
    assert "masquerade" not in net.rules()
    assert ("culvert_network_virbr0" in net.rules()) is (mode == "route")
    virsh("net-destroy", "default", uri=host.uri).expect()
    _nothing_is_left(host, net)


def test_a_network_of_ipv6(host: DaemonProcess, net: NetworkNamespace) -> None:
    xml = DEFAULT.format(mode="nat").replace(
        "</network>",
        "<ip family='ipv6' address='2001:db8:7::1' prefix='64'><dhcp>"
        "<range start='2001:db8:7::10' end='2001:db8:7::ff'/></dhcp></ip></network>",
    )
    _define(host, xml.replace("<forward mode='nat'/>", "<forward mode='nat'><nat ipv6='yes'/></forward>"))
    virsh("net-start", "default", uri=host.uri).expect()
    assert "inet6 2001:db8:7::1/64" in net.run("ip", "address", "show", "virbr0")
    assert "ip6 saddr 2001:db8:7::/64" in net.rules()
    assert net.run("cat", "/proc/sys/net/ipv6/conf/all/forwarding") == "1\n"
    virsh("net-destroy", "default", uri=host.uri).expect()
    _nothing_is_left(host, net)


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox asks for the address")
def test_an_address_is_given_out_and_the_daemon_is_killed(host: DaemonProcess, net: NetworkNamespace) -> None:
    _start(host)
    fixed = f"<host mac='{MAC}' name='guest' ip='192.168.122.77'/>"
    virsh("net-update", "default", "add", "ip-dhcp-host", fixed, "--live", "--config", uri=host.uri).expect()
    with NetworkNamespace() as client:
        _client(net, client)
        assert client.lease("eth0") == "192.168.122.77"
        told = virsh("net-dhcp-leases", "default", uri=host.uri).expect()
        assert f"{MAC}   ipv4       192.168.122.77/24   guest" in told
        assert (
            virsh("net-dhcp-leases", "default", "--mac", "52:54:00:00:00:09", uri=host.uri).expect().count("\n") == 3
        )
        pid = _pid(host)
        host.restart(kill=True)
        assert virsh("net-list", "--name", uri=host.uri).expect().split() == ["default"]
        assert _pid(host) == pid
        assert virsh("net-dhcp-leases", "default", uri=host.uri).expect() == told
        client.run("busybox", "ping", "-c", "1", "-W", "10", "192.168.122.1")
    virsh("net-destroy", "default", uri=host.uri).expect()
    _nothing_is_left(host, net)


def test_a_dnsmasq_that_ends_is_started_again(host: DaemonProcess, net: NetworkNamespace) -> None:
    _start(host)
    pid = _pid(host)
    os.kill(pid, signal.SIGKILL)
    host.wait_logged("its dnsmasq has ended, and is started again")
    wait_for(lambda: _pid(host) != pid and _runs(_pid(host)), "another dnsmasq")
    virsh("net-destroy", "default", uri=host.uri).expect()
    _nothing_is_left(host, net)


@pytest.mark.parametrize("stage", ["starting", "ending"])
def test_a_daemon_that_ended_half_way(host: DaemonProcess, net: NetworkNamespace, stage: str) -> None:
    _start(host)
    pid = _pid(host)
    host.kill()
    status = host.root / "run/networks/default.json"
    status.write_text(status.read_text().replace('"active"', f'"{stage}"'))
    host.start()
    assert virsh("net-list", "--all", "--inactive", "--name", uri=host.uri).expect().split() == ["default"]
    assert not _runs(pid)
    _nothing_is_left(host, net)
    virsh("net-start", "default", uri=host.uri).expect()


def test_the_bridge_of_somebody_else(host: DaemonProcess, net: NetworkNamespace) -> None:
    net.run("ip", "link", "add", "theirs0", "type", "bridge")
    _define(host, DEFAULT.format(mode="nat").replace("<ip ", "<bridge name='theirs0'/><ip "))
    refused = virsh("net-start", "default", uri=host.uri)
    assert "Unable to create bridge theirs0: File exists" in refused.err
    assert net.devices() == {"lo", "theirs0"}
    net.run("ip", "link", "delete", "theirs0")
    _nothing_is_left(host, net)


def test_the_addresses_of_somebody_else(host: DaemonProcess, net: NetworkNamespace) -> None:
    net.run("ip", "link", "add", "theirs0", "type", "bridge")
    net.run("ip", "address", "add", "192.168.122.9/24", "dev", "theirs0")
    net.run("ip", "link", "set", "theirs0", "up")
    _define(host, DEFAULT.format(mode="nat"))
    refused = virsh("net-start", "default", uri=host.uri)
    assert "internal error: Network is already in use by interface theirs0" in refused.err
    assert net.devices() == {"lo", "theirs0"}


def test_a_start_that_fails_late_leaves_nothing(host: DaemonProcess, net: NetworkNamespace) -> None:
    """Its addresses are there, its rules too, when dnsmasq refuses what it is told."""
    leases = host.root / "lib/dnsmasq/virbr0.leases"
    leases.mkdir(parents=True)
    (leases / "x").touch()
    _define(host, DEFAULT.format(mode="nat"))
    refused = virsh("net-start", "default", uri=host.uri)
    assert "cannot open or create lease file" in refused.err
    _nothing_is_left(host, net)


def test_rules_of_others_stay(host: DaemonProcess, net: NetworkNamespace) -> None:
    net.run("nft", "add table inet theirs; add chain inet theirs c { type filter hook forward priority 0; }")
    before = net.rules()
    _start(host)
    virsh("net-destroy", "default", uri=host.uri).expect()
    assert net.rules() == before


def test_transient_and_autostart(host: DaemonProcess, net: NetworkNamespace) -> None:
    path = host.root / "network.xml"
    path.write_text(DEFAULT.format(mode="nat"))
    virsh("net-create", str(path), uri=host.uri).expect()
    refused = virsh("net-autostart", "default", uri=host.uri)
    assert "cannot set autostart for transient network" in refused.err
    assert "can't undefine transient network" in virsh("net-undefine", "default", uri=host.uri).err
    virsh("net-destroy", "default", uri=host.uri).expect()
    assert virsh("net-list", "--all", "--name", uri=host.uri).expect().split() == []
    virsh("net-define", str(path), uri=host.uri).expect()
    virsh("net-autostart", "default", uri=host.uri).expect()
    host.restart()  # not the host: it is started once since that was
    assert virsh("net-list", "--name", uri=host.uri).expect().split() == []
    host.kill()
    shutil.rmtree(host.root / "run")
    host.start()
    assert virsh("net-list", "--name", "--autostart", uri=host.uri).expect().split() == ["default"]
    assert net.devices() == {"lo", "virbr0"}


def test_events(host: DaemonProcess) -> None:
    with Running(host.uri, "net-event", "--event", "lifecycle", "--loop", "--timeout", "60") as watching:
        told: list[str] = []

        def listen() -> None:
            assert watching.process.stdout is not None
            told.extend(line.strip() for line in watching.process.stdout if line.startswith("event "))

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        host.wait_logged("event=network registered")
        _start(host)
        virsh("net-destroy", "default", uri=host.uri).expect()
        virsh("net-undefine", "default", uri=host.uri).expect()
        wait_for(lambda: len(told) == 4, "four events")
    assert told == [
        f"event 'lifecycle' for network default: {what}" for what in ("Defined", "Started", "Stopped", "Undefined")
    ]


def test_updates(host: DaemonProcess) -> None:
    _start(host)
    pid = _pid(host)
    named = "<host ip='192.168.122.5'><hostname>five</hostname></host>"
    virsh("net-update", "default", "add", "dns-host", named, uri=host.uri).expect()
    assert (host.root / "lib/dnsmasq/virbr0.addnhosts").read_text() == "192.168.122.5\tfive\t\n"
    assert _pid(host) == pid
    assert "five" not in virsh("net-dumpxml", "default", "--inactive", uri=host.uri).expect()
    txt = "<txt name='a' value='b'/>"
    virsh("net-update", "default", "add", "dns-txt", txt, "--live", "--config", uri=host.uri).expect()
    assert _pid(host) != pid
    assert "<txt name='a' value='b'/>" in virsh("net-dumpxml", "default", "--inactive", uri=host.uri).expect()
    refused = virsh("net-update", "default", "add", "dns-txt", txt, uri=host.uri)
    assert "there is already a DNS TXT record with name 'a' in network default" in refused.err


OUTSIDE, HOST, GUEST = "10.79.0.2", "10.79.0.1", "192.168.122.50"


def _answers(net: NetworkNamespace, address: str, *, wanted: bool) -> None:
    """``address`` can be reached from ``net``, or not."""

    def heard() -> bool:
        return ", 0% packet loss" in net.run("busybox", "ping", "-c", "1", "-W", "2", address, check=False)

    if wanted:
        wait_for(heard, f"an answer of {address}", 60)
    else:
        assert not heard()


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox asks for an answer")
@pytest.mark.parametrize(
    ("forward", "out", "back"),
    [
        ("<forward mode='nat'/>", True, False),
        ("<forward mode='route'/>", True, True),
        ("<forward mode='open'/>", True, True),
        ("", False, False),
    ],
)
def test_what_leaves_and_what_comes_in(
    host: DaemonProcess, net: NetworkNamespace, forward: str, out: bool, back: bool
) -> None:
    """Seen from outside, which has no way back to an address that is not turned, unless it is told one."""
    xml = DEFAULT.format(mode="nat").replace("<forward mode='nat'/>", f"{forward}<bridge name='virbr0' stp='off'/>")
    _define(host, xml)
    virsh("net-start", "default", uri=host.uri).expect()
    with NetworkNamespace() as outside, NetworkNamespace() as guest:
        net.join(outside, "road", "road")
        net.run("ip", "address", "add", f"{HOST}/24", "dev", "road")
        outside.run("ip", "address", "add", f"{OUTSIDE}/24", "dev", "road")
        _client(net, guest)
        guest.run("ip", "address", "add", f"{GUEST}/24", "dev", "eth0")
        guest.run("ip", "route", "add", "default", "via", "192.168.122.1")
        net.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")  # for whatever other reason the host has
        _answers(guest, "192.168.122.1", wanted=True)
        _answers(guest, OUTSIDE, wanted="nat" in forward)
        outside.run("ip", "route", "add", "192.168.122.0/24", "via", HOST)
        _answers(guest, OUTSIDE, wanted=out)
        _answers(outside, GUEST, wanted=back)
