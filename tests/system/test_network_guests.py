"""Guests in virtual networks: plugged in, given an address, moved to a network of the same name, and back."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from guests import domain_xml, watch
from tests.support import processes
from tests.support.daemon import DaemonProcess, remove_folder, short_folder
from tests.support.guest import SMALL, RunningGuest
from tests.support.netns import NEEDS, NetworkNamespace, possible
from tests.support.virsh import virsh
from tests.support.wait import wait_for

pytestmark = [
    pytest.mark.skipif(not possible() or shutil.which("dnsmasq") is None, reason=NEEDS),
    pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="no /dev/net/tun"),
]

MAC = "52:54:00:11:22:33"
PORT = 16509
ROAD = {"a": "10.77.0.1", "b": "10.77.0.2"}
NETWORK = """<network>
  <name>default</name>
  <forward mode='nat'/>
  <bridge stp='off'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp>
  </ip>
</network>
"""
CARD = (
    f"<interface type='network'><mac address='{MAC}'/><source network='default'/><model type='virtio'/></interface>"
)


@dataclass(frozen=True, slots=True)
class Side:
    """A daemon, and the network that it is in."""

    daemon: DaemonProcess
    net: NetworkNamespace

    @property
    def uri(self) -> str:
        return self.daemon.uri

    @property
    def name(self) -> str:
        return self.daemon.name

    def virsh(self, *words: str) -> str:
        return virsh(*words, uri=self.uri).expect()

    def start_network(self, xml: str = NETWORK) -> None:
        path = self.daemon.root / "network.xml"
        path.write_text(xml, encoding="utf-8")
        self.virsh("net-define", str(path))
        self.virsh("net-start", "default")

    @property
    def reach(self) -> str:
        """Where the other one finds it."""
        return f"qemu+tcp://{ROAD[self.name]}:{PORT}/system"

    def connections(self) -> int:
        found = re.search(r"connections='(\d+)'", self.virsh("net-dumpxml", "default"))
        return int(found[1]) if found else 0


@pytest.fixture
def folder() -> Iterator[Path]:
    made = short_folder()
    made.chmod(0o755)  # dnsmasq reads its files as its own user
    yield made
    remove_folder(made)


@pytest.fixture
def sides(folder: Path) -> Iterator[tuple[Side, Side]]:
    with NetworkNamespace() as net_a, NetworkNamespace() as net_b:
        net_a.join(net_b, "road", "road")
        for name, net in (("a", net_a), ("b", net_b)):
            net.run("ip", "address", "add", f"{ROAD[name]}/24", "dev", "road")
            (folder / name).mkdir()
        with _daemon(folder / "a", net_a) as a, _daemon(folder / "b", net_b) as b:
            yield Side(a, net_a), Side(b, net_b)


def _daemon(root: Path, net: NetworkNamespace) -> DaemonProcess:
    listen = ["--listen", f"tcp://{ROAD[root.name]}:{PORT}", "--log-level", "debug"]
    config = "[daemon]\nallow_clear_text = true\n"
    return DaemonProcess(root, name=root.name, within=net.within, arguments=listen, config=config)


def _guest(folder: Path, *, devices: str = CARD, os: str = "") -> domain_xml.Guest:
    boot = "disk" if os else "kernel"
    made = domain_xml.tiny_guest(folder, "g", SMALL, devices=devices, boot=boot)
    return replace(made, domain=replace(made.domain, os=os))


def _run(side: Side, guest: domain_xml.Guest, follow: watch.SerialWatch) -> RunningGuest:
    side.virsh("create", str(guest.write_xml()))
    follow.wait_running(120)
    return RunningGuest(guest, follow)


def test_the_firmware_asks_for_an_address_and_the_guest_moves_there_and_back(
    sides: tuple[Side, Side], folder: Path
) -> None:
    a, b = sides
    for side in sides:
        side.start_network()
    made = _guest(folder, os="<boot dev='network'/><boot dev='hd'/>")
    with watch.SerialWatch(made.serial) as follow:
        guest = _run(a, made, follow)
        assert f"{MAC}   ipv4" in a.virsh("net-dhcp-leases", "default")
        live = a.virsh("dumpxml", "g")
        assert re.search(r"<source network='default' portid='[0-9a-f-]{36}' bridge='virbr0'/>", live)
        assert re.search(r"<target dev='vnet\d+'/>", live)
        assert "portid" not in a.virsh("dumpxml", "g", "--migratable")
        assert a.connections() == 1
        assert re.search(
            rf"vnet\d+ +{MAC} +ipv4 +192\.168\.122\.\d+/24", a.virsh("domifaddr", "g", "--source", "lease")
        )
        a.net.run("ip", "neighbour", "add", "192.168.122.250", "lladdr", MAC, "dev", "virbr0")
        assert re.search(r"ipv4 +192\.168\.122\.250/0", a.virsh("domifaddr", "g", "--source", "arp"))
        nameless = virsh("domhostname", "g", "--source", "lease", uri=a.uri)
        assert "no hostname found for domain g" in nameless.err
        for here, there in ((a, b), (b, a)):
            here.virsh("migrate", "--live", "--p2p", "g", there.reach)
            guest.assert_runs_only_on(there.daemon, here.daemon)
            assert (here.connections(), there.connections()) == (0, 1)
            assert {name for name in here.net.devices() if name.startswith("vnet")} == set()
            there.daemon.restart(kill=True)
            assert there.connections() == 1
        a.virsh("destroy", "g")
    for side in sides:
        assert side.connections() == 0
        side.virsh("net-destroy", "default")
        assert side.net.devices() == {"lo", "road"}
        assert side.net.rules() == ""


def test_a_destination_without_such_a_network(sides: tuple[Side, Side], folder: Path) -> None:
    a, b = sides
    a.start_network()
    made = _guest(folder)
    with watch.SerialWatch(made.serial) as follow:
        guest = _run(a, made, follow)
        refused = virsh("migrate", "--live", "--p2p", "g", b.reach, uri=a.uri)
        assert "Network not found: no network with matching name 'default'" in refused.err
        guest.assert_runs_only_on(a.daemon, b.daemon)
        path = b.daemon.root / "network.xml"
        path.write_text(NETWORK)
        b.virsh("net-define", str(path))
        refused = virsh("migrate", "--live", "--p2p", "g", b.reach, uri=a.uri)
        assert "Requested operation is not valid: network 'default' is not active" in refused.err
        guest.assert_runs_only_on(a.daemon, b.daemon)
        b.daemon.assert_no_leftovers()
        b.virsh("net-start", "default")
        a.virsh("migrate", "--live", "--p2p", "g", b.reach)
        guest.assert_runs_only_on(b.daemon, a.daemon)
        b.virsh("destroy", "g")


def test_no_start_without_the_network(sides: tuple[Side, Side], folder: Path) -> None:
    a, _ = sides
    path = str(_guest(folder).write_xml())
    refused = virsh("create", path, uri=a.uri)
    assert "Network not found: no network with matching name 'default'" in refused.err
    a.virsh("define", path)
    (a.daemon.root / "network.xml").write_text(NETWORK)
    a.virsh("net-define", str(a.daemon.root / "network.xml"))
    refused = virsh("start", "g", uri=a.uri)
    assert "Requested operation is not valid: network 'default' is not active" in refused.err
    a.daemon.assert_no_leftovers()


def test_cards_come_and_go(sides: tuple[Side, Side], folder: Path) -> None:
    a, _ = sides
    a.start_network(NETWORK.replace("</network>", "<portgroup name='p'/></network>"))
    made = _guest(folder, devices="")
    with watch.SerialWatch(made.serial) as follow:
        _run(a, made, follow)
        card = folder / "card.xml"
        card.write_text(CARD.replace("<source network='default'/>", "<source network='default' portgroup='p'/>"))
        a.virsh("attach-device", "g", str(card), "--live")
        assert a.connections() == 1
        live = a.virsh("dumpxml", "g")
        assert re.search(r"<source network='default' portgroup='p' portid='[0-9a-f-]{36}' bridge='virbr0'/>", live)
        listed = a.virsh("domiflist", "g").split()
        assert listed[-4:] == ["network", "default", "virtio", MAC]
        a.virsh("domif-setlink", "g", MAC, "down")
        assert a.virsh("domif-getlink", "g", MAC).split()[-1] == "down"
        a.virsh("domif-setlink", "g", MAC, "up")
        a.virsh("destroy", "g")
        assert a.connections() == 0
        assert a.net.devices() == {"lo", "road", "virbr0"}


def test_a_network_on_a_bridge_of_the_host(sides: tuple[Side, Side], folder: Path) -> None:
    a, _ = sides
    a.net.run("ip", "link", "add", "br0", "mtu", "1400", "type", "bridge")
    a.net.run("ip", "link", "set", "br0", "up")
    a.start_network(
        "<network><name>default</name><forward mode='bridge'/><bridge name='br0'/><port isolated='yes'/></network>"
    )
    made = _guest(folder)
    with watch.SerialWatch(made.serial) as follow:
        _run(a, made, follow)
        live = a.virsh("dumpxml", "g")
        assert re.search(
            r"<interface type='bridge'>\s*<mac .*\s*<source network='default' portid='\S+' bridge='br0'/>", live
        )
        assert "<port isolated='yes'/>" in live
        shown = a.net.run("ip", "-details", "link", "show", "master", "br0")
        assert "isolated on" in shown
        assert "mtu 1400" in shown
        a.virsh("destroy", "g")
    a.virsh("net-destroy", "default")
    assert a.net.devices() == {"lo", "road", "br0"}


def test_on_top_of_a_device_of_the_host(sides: tuple[Side, Side], folder: Path) -> None:
    a, _ = sides
    a.start_network("<network><name>default</name><forward mode='bridge' dev='road'/></network>")
    made = _guest(folder)
    with watch.SerialWatch(made.serial) as follow:
        path = str(made.write_xml())
        created = virsh("create", path, uri=a.uri)
        if "cannot open macvtap tap device" in created.err:
            assert a.net.devices() == {"lo", "road"}
            pytest.skip("no file for a macvtap comes here: /dev is not the kernel's own")
        follow.wait_running()
        live = a.virsh("dumpxml", "g")
        assert "<interface type='direct'>" in live
        assert re.search(r"<source network='default' portid='\S+' dev='road' mode='bridge'/>", live)
        assert "macvtap0" in a.net.devices()
        a.daemon.kill()
        a.daemon.start()
        a.virsh("destroy", "g")
        wait_for(lambda: a.net.devices() == {"lo", "road"}, "the device to go")


def test_several_queues(sides: tuple[Side, Side], folder: Path) -> None:
    a, b = sides
    for side in sides:
        side.start_network()
    card = CARD.replace("</interface>", "<driver name='qemu' queues='2'/><link state='down'/></interface>")
    made = _guest(folder, devices=card)
    with watch.SerialWatch(made.serial) as follow:
        guest = _run(a, made, follow)
        assert a.virsh("domif-getlink", "g", MAC).split()[-1] == "down"
        a.virsh("migrate", "--live", "--p2p", "g", b.reach)
        guest.assert_runs_only_on(b.daemon, a.daemon)
        b.virsh("destroy", "g")


def test_saved_and_restored(sides: tuple[Side, Side], folder: Path) -> None:
    a, _ = sides
    a.start_network()
    made = _guest(folder)
    with watch.SerialWatch(made.serial) as follow:
        guest = _run(a, made, follow)
        a.virsh("save", "g", str(folder / "g.save"))
        assert a.connections() == 0
        a.virsh("net-destroy", "default")
        refused = virsh("restore", str(folder / "g.save"), uri=a.uri)
        assert "network 'default' is not active" in refused.err
        a.virsh("net-start", "default")
        a.virsh("restore", str(folder / "g.save"))
        assert a.connections() == 1
        guest.watch.wait_verified()
        a.virsh("destroy", "g")


def test_a_card_is_held_back_and_moved_to_another_network(sides: tuple[Side, Side], folder: Path) -> None:
    a, _ = sides
    a.start_network()
    other = folder / "other.xml"
    other.write_text("<network><name>other</name><bridge stp='off'/></network>")
    a.virsh("net-create", str(other))
    made = _guest(folder)
    with watch.SerialWatch(made.serial) as follow:
        _run(a, made, follow)
        a.virsh("domiftune", "g", MAC, "--inbound", "1000,2000,512")
        assert "inbound.average: 1000\ninbound.peak   : 2000\ninbound.burst  : 512" in a.virsh("domiftune", "g", MAC)
        tap = next(name for name in a.net.devices() if name.startswith("vnet"))
        assert "htb" in a.net.run("tc", "qdisc", "show", "dev", tap)
        assert "<inbound average='1000' peak='2000' burst='512'/>" in a.virsh("dumpxml", "g")
        a.virsh("domiftune", "g", MAC, "--inbound", "0")
        assert "htb" not in a.net.run("tc", "qdisc", "show", "dev", tap)
        assert "<bandwidth>" not in a.virsh("dumpxml", "g")
        port = re.search(r"portid='([^']*)'", a.virsh("dumpxml", "g"))
        assert port is not None
        assert port[1] in a.virsh("net-port-list", "default")
        shown = a.virsh("net-port-dumpxml", "default", port[1])
        assert f"<mac address='{MAC}'/>\n  <plug type='network' bridge='virbr0'/>" in shown
        card = folder / "card.xml"
        card.write_text(CARD.replace("'default'", "'other'"))
        a.virsh("update-device", "g", str(card), "--live")
        assert "<source network='other' portid=" in a.virsh("dumpxml", "g")
        assert a.connections() == 0
        assert tap in a.net.run("ip", "link", "show", "master", "virbr1")
        a.virsh("net-destroy", "default")
        a.virsh("net-start", "default")
        card.write_text(CARD)
        a.virsh("update-device", "g", str(card), "--live")
        a.virsh("net-destroy", "default")
        a.virsh("net-start", "default")
        assert a.connections() == 0
        a.virsh("update-device", "g", str(card), "--live")
        assert a.connections() == 1
        assert tap in a.net.run("ip", "link", "show", "master", "virbr0")
        card.write_text(CARD.replace("'virtio'", "'e1000'"))
        refused = virsh("update-device", "g", str(card), "--live", uri=a.uri)
        assert "cannot modify network device model from virtio to e1000" in refused.err
        a.virsh("destroy", "g")


@pytest.mark.skipif(shutil.which("passt") is None, reason="no passt")
def test_user_networking_by_passt(sides: tuple[Side, Side], folder: Path) -> None:
    a, b = sides
    for side in sides:  # passt wants a way out to take over for its guest
        side.net.run("ip", "route", "add", "default", "via", ROAD["b" if side is a else "a"])
    card = f"<interface type='user'><mac address='{MAC}'/><model type='virtio'/><backend type='passt'/></interface>"
    made = _guest(folder, devices=card, os="<boot dev='network'/><boot dev='hd'/>")

    def programs(side: Side) -> list[str]:
        found = [processes.program(pid) for pid in processes.marked(side.daemon.root)]
        return [name for name in found if name.startswith("passt")]

    with watch.SerialWatch(made.serial) as follow:
        guest = _run(a, made, follow)
        assert len(programs(a)) == 1
        a.daemon.restart(kill=True)
        a.virsh("migrate", "--live", "--p2p", "g", b.reach)
        guest.assert_runs_only_on(b.daemon, a.daemon)
        wait_for(lambda: programs(a) == [], "the source's passt to end")
        assert len(programs(b)) == 1
        [pid] = [pid for pid in processes.marked(b.daemon.root) if processes.program(pid).startswith("passt")]
        os.kill(pid, signal.SIGKILL)
        b.daemon.wait_logged("passt has ended")
        guest.assert_runs_only_on(b.daemon, a.daemon)
        b.virsh("destroy", "g")
        wait_for(lambda: programs(b) == [], "the destination's passt to end")


def test_a_guest_lets_go_of_a_card(sides: tuple[Side, Side], folder: Path) -> None:
    a, _ = sides
    a.start_network()
    guest = domain_xml.linux_guest(folder, "l", machine="pc")
    a.virsh("create", str(guest.write_xml()))
    wait_for(lambda: guest.serial.exists() and b"count=" in guest.serial.read_bytes(), "Linux is up", 120)
    a.virsh("attach-interface", "l", "network", "default", "--mac", MAC, "--model", "virtio", "--live")
    assert a.connections() == 1
    a.virsh("detach-interface", "l", "network", "--mac", MAC, "--live")
    wait_for(lambda: a.connections() == 0, "the card to go", 60)
    assert a.net.devices() == {"lo", "road", "virbr0"}
    a.virsh("destroy", "l")


@pytest.mark.parametrize(
    ("element", "said"),
    [
        ("<vlan><tag id='42'/></vlan>", f"interface {MAC} - vlan tag not supported for this connection type"),
        ("<virtualport type='openvswitch'/>", f"interface {MAC} - <virtualport type='openvswitch'> is not supported"),
        ("<filterref filter='f'/>", "Network filter not found: no nwfilter with matching name 'f'"),
    ],
)
def test_what_no_host_has_is_refused_before_anything_starts(
    sides: tuple[Side, Side], folder: Path, element: str, said: str
) -> None:
    a, _ = sides
    a.start_network()
    made = _guest(folder, devices=CARD.replace("<model", f"{element}<model"))
    a.virsh("define", str(made.write_xml()))
    refused = virsh("start", "g", uri=a.uri)
    assert said in refused.err
    assert a.connections() == 0
    a.daemon.assert_no_leftovers()


def test_two_guests_joined_without_the_host(sides: tuple[Side, Side], folder: Path) -> None:
    """One listens, the other connects; both move, and each is what it was."""
    a, b = sides
    kinds = (("server", "5559"), ("client", "5559"))
    names = []
    for side_name, (kind, port) in zip("gh", kinds, strict=True):
        card = (
            f"<interface type='{kind}'><source address='127.0.0.1' port='{port}'/><model type='virtio'/></interface>"
        )
        made = domain_xml.tiny_guest(folder, side_name, SMALL, devices=card)
        with watch.SerialWatch(made.serial) as follow:
            a.virsh("create", str(made.write_xml()))
            follow.wait_running(120)
        names.append(made.name)
    for name in names:
        a.virsh("migrate", "--live", "--p2p", name, b.reach)
    assert b.virsh("list", "--name").split() == names
    for name in names:
        b.virsh("destroy", name)
