"""What a libvirtd on the same machine takes of the corpus is taken here, and shown as it shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.domain.test_corpus import FILES
from tests.interop.test_spellings import DUMP, plain
from tests.support.interop import Pair
from tests.support.libvirt_python import libvirt_python

NEWER = re.compile(r" device='virtio-(?:vga|gpu)'(?=/>)")
"""What libvirt 12.9 writes of a virtio card beside what it has always written, and says nothing new."""


def test_what_libvirt_takes_is_taken_and_shown_so(hosts: Pair, tmp_path: Path) -> None:
    asked = tmp_path / "definitions.json"
    texts = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
    asked.write_text(json.dumps(texts), encoding="utf-8")
    stock, ours = (
        {
            name: NEWER.sub("", plain(xml))
            for name, xml in json.loads(libvirt_python(DUMP, uri, str(asked), timeout=170)).items()
        }
        for uri in (hosts.stock.uri, hosts.culvert.uri)
    )
    assert ours == stock
