"""What a libvirtd on the same machine takes of the corpus is taken here, and shown as it shows it."""

from __future__ import annotations

import json
from pathlib import Path

from culvert.domain.format import format
from tests.domain.test_corpus import FILES, REFUSED, taken
from tests.interop.test_spellings import DUMP, plain
from tests.support.interop import Pair
from tests.support.libvirt_python import libvirt_python


def test_what_libvirt_takes_is_taken_and_shown_so(hosts: Pair, tmp_path: Path) -> None:
    asked = tmp_path / "definitions.json"
    # Of what is refused here libvirt takes some only where firmware is installed.
    texts = {name: path.read_text(encoding="utf-8") for name, path in FILES.items() if name not in REFUSED}
    asked.write_text(json.dumps(texts), encoding="utf-8")
    said = json.loads(libvirt_python(DUMP, hosts.stock.uri, str(asked), timeout=170))
    ours = {name: plain(format(taken(name), secure=True)) for name in texts}
    assert {name: plain(xml) for name, xml in said.items()} == ours
