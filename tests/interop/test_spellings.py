"""A real libvirtd reads each spelling as culvert does, and shows the same definition."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from culvert.domain.format import format
from tests.domain import golden
from tests.domain.spellings import SPELLINGS
from tests.domain.test_spellings import completed
from tests.support import generation
from tests.support.interop import Pair
from tests.support.libvirt_python import libvirt_python

DUMP = """
    import json
    said = {}
    for name, xml in json.load(open(sys.argv[2])).items():
        domain = connection.defineXML(xml)
        said[name] = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
        domain.undefine()
    print(json.dumps(said))
"""


@pytest.mark.parametrize("which", ["stock", "culvert"])
def test_the_daemon_shows_it_so(hosts: Pair, tmp_path: Path, which: str) -> None:
    if which == "stock" and not generation.IS_THE_ONE_OF_THE_TABLES.here:
        pytest.skip("the table says what libvirt 9.0 does")
    asked = tmp_path / "definitions.json"
    asked.write_text(json.dumps({one.name: one.written for one in SPELLINGS}), encoding="utf-8")
    uri = hosts.stock.uri if which == "stock" else hosts.culvert.uri
    said = json.loads(libvirt_python(DUMP, uri, str(asked), timeout=170))
    ours = {one.name: plain(format(completed(one.written), secure=True)) for one in SPELLINGS}
    assert {name: plain(xml) for name, xml in said.items()} == ours


def plain(xml: str) -> str:
    own = generation.own_machine("pc"), generation.own_machine("q35")
    for machine, recorded in zip(own, ("pc-i440fx-7.2", "pc-q35-7.2"), strict=True):
        xml = xml.replace(f"'{machine}'", f"'{recorded}'")
    return golden.without_order(re.sub("<uuid>.*</uuid>", "<uuid/>", xml))
