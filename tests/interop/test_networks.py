"""Network definitions, to the letter as a real libvirtd of this host has them, and refused with its codes."""

from __future__ import annotations

import json
import re
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from guests import domain_xml, watch
from tests.domain.network.test_text import DEFAULT, EVERYTHING, REFUSALS
from tests.support import generation, libvirtd
from tests.support.daemon import DaemonProcess, remove_folder, short_folder
from tests.support.guest import SMALL
from tests.support.interop import Pair
from tests.support.libvirt_python import libvirt_python
from tests.support.libvirtd import Libvirtd
from tests.support.netns import NEEDS, NetworkNamespace, possible
from tests.support.virsh import virsh

pytestmark = [
    pytest.mark.skipif(not libvirtd.possible(), reason=libvirtd.NEEDS),
    pytest.mark.skipif(not possible() or shutil.which("dnsmasq") is None, reason=NEEDS),
]

SIX = "<ip family='ipv6' address='2001:db8:9::1' prefix='64'/>"
TAKEN = {
    "default": DEFAULT,
    "everything": EVERYTHING.replace(" connections='3'", ""),
    "six": DEFAULT.replace("</ip>", f"</ip>{SIX}"),
    "six-turned": DEFAULT.replace("</ip>", f"</ip>{SIX}").replace(
        "<forward/>", "<forward mode='nat'><nat ipv6='yes'/></forward>"
    ),
    "ranges": DEFAULT.replace("<forward/>", "<forward mode='nat'><nat><port start='5' end='9'/></nat></forward>"),
    "isolated": "<network><name>n</name><ip address='10.9.0.1' prefix='24'/></network>",
    "bare": "<network><name>n</name></network>",
    "bridge": "<network><name>n</name><forward mode='bridge'/><bridge name='br9'/></network>",
    "pool": "<network><name>n</name><forward mode='vepa' dev='e1'/></network>",
    "device": DEFAULT.replace("<forward/>", "<forward dev='e1' mode='route'/>"),
    "template": "<network><name>n</name><bridge name='my%dbr' delay='3'/></network>",
    "static": DEFAULT.replace(
        "<range start='192.168.122.2' end='192.168.122.254'/>", "<host name='a' ip='192.168.122.9'/>"
    ),
}
STARTED = ["default", "isolated", "bare", "bridge", "pool", "static", "six", "six-turned", "ranges"]
"""Those that are active too: what is shown of them then."""
# Refused by culvert alone, by the element.
OURS = ("/network/forward/@mode: 'hostdev'", "element /network/virtualport", "is not a name of a bridge")

ASK = """
    import json
    said = {}
    for name, xml in json.load(open(sys.argv[2])).items():
        try:
            network = connection.networkDefineXML(xml)
            said[name] = network.XMLDesc(0)
            if name in json.loads(sys.argv[3]):
                network.create()
                said[name] = network.XMLDesc(0) + network.XMLDesc(1)
                network.destroy()
            network.undefine()
        except libvirt.libvirtError as error:
            said[name] = [error.get_error_code(), error.get_error_message()]
    print(json.dumps(said))
"""


def _plain(said: object) -> object:
    """Without what is made up for a network that does not say it, and of a refusal its code."""
    if not isinstance(said, str):
        assert isinstance(said, list)
        return said[0]
    return re.sub(r"<uuid>.*</uuid>|<mac address='.*'/>", "", said)


def test_a_guest_moves_to_a_libvirtd_and_back(folder: Path) -> None:
    """By the name of its network alone."""
    folder.chmod(0o755)
    with NetworkNamespace() as ours, NetworkNamespace() as theirs:
        ours.join(theirs, "road", "road")
        ours.run("ip", "address", "add", "10.78.0.1/24", "dev", "road")
        theirs.run("ip", "address", "add", "10.78.0.2/24", "dev", "road")
        (folder / "c").mkdir()
        listen = ["--listen", "tcp://10.78.0.1:16509"]
        config = "[daemon]\nallow_clear_text = true\n"
        names = f"10.78.0.1 {socket.gethostname()}\n10.78.0.2 stock\n"
        with (
            DaemonProcess(folder / "c", within=ours.within, arguments=listen, config=config) as culvert,
            Libvirtd(folder / "l", namespace=theirs.name, address="10.78.0.2", name="stock", hosts=names) as stock,
        ):
            xml = folder / "network.xml"
            xml.write_text(DEFAULT, encoding="utf-8")
            for uri in (culvert.uri, stock.uri):
                virsh("net-create", str(xml), uri=uri).expect()
            card = "<interface type='network'><source network='default'/><model type='virtio'/></interface>"
            made = domain_xml.tiny_guest(folder, "g", SMALL, devices=card)
            guest = replace(made, domain=replace(made.domain, memory_kib=24 * 1024))  # libvirt moves whole MiB
            with watch.SerialWatch(guest.serial) as follow:
                virsh("create", str(guest.write_xml()), uri=culvert.uri).expect()
                follow.wait_running(60)
                back = "qemu+tcp://10.78.0.1:16509/system"
                for here, to, there in ((culvert.uri, stock.tcp_uri, stock.uri), (stock.uri, back, culvert.uri)):
                    virsh("migrate", "--live", "--p2p", "--tunnelled", "g", to, uri=here).expect()
                    follow.wait_verified()
                    assert "<source network='default' portid='" in virsh("dumpxml", "g", uri=there).expect()
                virsh("destroy", "g", uri=culvert.uri).expect()


def test_as_libvirtd_has_them(tmp_path: Path) -> None:
    asked = TAKEN | {
        said: f"<network><name>n</name>{parts}</network>"
        for parts, _, said in REFUSALS
        if not said.startswith(OURS) and said not in OURS
    }
    path = tmp_path / "asked.json"
    path.write_text(json.dumps(asked), encoding="utf-8")
    folder = short_folder()
    folder.chmod(0o755)
    (folder / "c").mkdir()
    with (
        NetworkNamespace() as ours,
        NetworkNamespace() as theirs,
        Libvirtd(folder / "l", namespace=theirs.name) as stock,
        DaemonProcess(folder / "c", within=ours.within) as culvert,
    ):
        from_stock = json.loads(libvirt_python(ASK, stock.uri, str(path), json.dumps(STARTED), timeout=120))
        from_culvert = json.loads(libvirt_python(ASK, culvert.uri, str(path), json.dumps(STARTED), timeout=120))
    remove_folder(folder)
    differ = {
        name: (from_stock[name], from_culvert[name])
        for name in asked
        if _plain(from_stock[name]) != _plain(from_culvert[name])
    }
    assert differ == {}
    if generation.IS_THE_ONE_OF_THE_TABLES.here:
        words = [name for name in TAKEN if not isinstance(from_stock[name], str)]
        assert words == []


ELEMENTS = (
    "<vlan trunk='yes'><tag id='42'/><tag id='47' nativeMode='untagged'/></vlan>"
    "<virtualport type='openvswitch'><parameters profileid='p'/></virtualport><link state='down'/><mtu size='1400'/>"
    "<filterref filter='f'><parameter name='IP' value='10.0.0.2'/><parameter name='A' value='1'/></filterref>"
    "<acpi index='7'/><bandwidth><inbound average='5'/></bandwidth><boot order='1'/>"
    "<driver rss='on' rss_hash_report='on' packed='on' page_per_vq='off' iommu='off' ats='off' queues='2'/>"
)
CARDS = (
    f"<interface type='bridge'><source bridge='br0'/>{ELEMENTS}<model type='virtio'/></interface>"
    "<interface type='user'><source dev='e0'/><ip address='172.17.2.0' prefix='24'/>"
    "<ip address='2001:db8::1'/></interface>"
    "<interface type='udp'><source address='127.0.0.1' port='5555'><local address='127.0.0.1' port='5556'/></source>"
    "<model type='pcnet'/></interface>"
    "<interface type='server'><source port='5555'/><model type='virtio-transitional'/></interface>"
    "<interface type='client'><source address='127.0.0.1' port='5555'/><model type='i82551'/></interface>"
    "<interface type='mcast'><source address='230.0.0.1' port='5555'/><model type='vmxnet3'/></interface>"
    "<interface type='network'><source network='n' portgroup='p' bridge='virbr0'/><target dev='vnet3'/>"
    "<port isolated='yes'/><model type='virtio-non-transitional'/></interface>"
    "<interface type='direct'><source dev='e0'/><target dev='macvtap0'/></interface>"
)


def test_cards_as_libvirtd_has_them(hosts: Pair, tmp_path: Path) -> None:
    path = tmp_path / "g.xml"
    macs = iter(f"<mac address='52:54:00:00:00:{number:02x}'/>" for number in range(1, 99))
    cards = re.sub(r"(<interface type='\w+'>)", lambda found: found[1] + next(macs), CARDS)
    path.write_text(
        "<domain type='qemu'><name>g</name><memory unit='MiB'>64</memory><os><type machine='pc'>hvm</type></os>"
        f"<devices>{cards}</devices></domain>"
    )
    shown = []
    for uri in (hosts.stock.uri, hosts.culvert.uri):
        virsh("define", str(path), uri=uri).expect()
        xml = virsh("dumpxml", "g", uri=uri).expect()
        virsh("undefine", "g", uri=uri).expect()
        told = re.findall(r"<interface.*</interface>", xml, re.DOTALL)
        shown.append(re.sub(r"interfaceid='[^']*'", "", told[0]))
    assert shown[0] == shown[1]
