"""The table of libvirt's verdicts, asked of the real libvirtd, and of culvertd over the wire."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.domain import verdicts
from tests.support import generation
from tests.support.interop import Pair
from tests.support.libvirt_python import libvirt_python

ASK = """
    import json
    said = {}
    for name, xml in json.load(open(sys.argv[2])).items():
        try:
            connection.defineXML(xml).undefine()
            said[name] = 0
        except libvirt.libvirtError as error:
            said[name] = error.get_error_code()
    print(json.dumps(said))
"""


@pytest.mark.parametrize("which", ["stock", "culvert"])
def test_the_daemon_says_so(hosts: Pair, tmp_path: Path, which: str) -> None:
    if which == "stock" and not generation.IS_THE_ONE_OF_THE_TABLES.here:
        pytest.skip("the table says what libvirt 9.0 does")
    asked = tmp_path / "definitions.json"
    asked.write_text(json.dumps({one.name: one.xml for one in verdicts.ROWS}), encoding="utf-8")
    uri = hosts.stock.uri if which == "stock" else hosts.culvert.uri
    said = json.loads(libvirt_python(ASK, uri, str(asked), timeout=170))
    assert said == {one.name: one.code for one in verdicts.ROWS}
