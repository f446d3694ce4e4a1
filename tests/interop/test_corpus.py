"""What a libvirtd on the same machine takes of the corpus is taken here, and shown as it shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from culvert.domain.format import format
from tests.domain import golden
from tests.domain.test_corpus import FILES, REFUSED, taken
from tests.interop.test_spellings import DUMP
from tests.support.interop import Pair
from tests.support.libvirt_python import libvirt_python


def test_what_libvirt_takes_is_taken_and_shown_so(hosts: Pair, tmp_path: Path) -> None:
    asked = tmp_path / "definitions.json"
    texts = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
    asked.write_text(json.dumps(texts), encoding="utf-8")
    said = json.loads(libvirt_python(DUMP, hosts.stock.uri, str(asked), timeout=170))
    assert set(said) == set(FILES)
    ours = {name: _plain(format(taken(name), secure=True)) for name in FILES if name not in REFUSED}
    assert {name: _plain(said[name]) for name in ours} == ours


def _plain(xml: str) -> str:
    return golden.without_order(re.sub("<uuid>.*</uuid>", "<uuid/>", xml))
