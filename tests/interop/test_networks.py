"""Network definitions, to the letter as a real libvirtd of this host has them, and refused with its codes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.domain.network.test_text import DEFAULT, EVERYTHING, REFUSALS
from tests.support import generation, libvirtd
from tests.support.daemon import DaemonProcess, remove_folder, short_folder
from tests.support.libvirt_python import libvirt_python
from tests.support.libvirtd import Libvirtd
from tests.support.netns import NEEDS, NetworkNamespace, possible

pytestmark = [
    pytest.mark.skipif(not libvirtd.possible(), reason=libvirtd.NEEDS),
    pytest.mark.skipif(not possible() or shutil.which("dnsmasq") is None, reason=NEEDS),
]

TAKEN = {
    "default": DEFAULT,
    "everything": EVERYTHING.replace(" connections='3'", ""),
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
# Refused by culvert alone, by the element.
OURS = ("/network/forward/@mode: 'hostdev'", "element /network/virtualport", "is not a name of a bridge")

ASK = """
    import json
    said = {}
    for name, xml in json.load(open(sys.argv[2])).items():
        try:
            network = connection.networkDefineXML(xml)
            said[name] = network.XMLDesc(0)
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
        from_stock = json.loads(libvirt_python(ASK, stock.uri, str(path), timeout=120))
        from_culvert = json.loads(libvirt_python(ASK, culvert.uri, str(path), timeout=120))
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
