"""The written manual says what the code does."""

from __future__ import annotations

import pytest

from tools import manual


@pytest.mark.parametrize("name", sorted(manual.PAGES))
def test_the_manual_is_what_the_tables_say(name: str) -> None:
    written = (manual.DOCS / name).read_text(encoding="utf-8").splitlines()
    assert written == manual.page(name).splitlines(), "`make manual` writes it anew"


def test_every_page_says_something() -> None:
    assert "DOMAIN_MIGRATE_PREPARE_TUNNEL3_PARAMS" in manual.page("wire.md")
    assert "`/domain/devices/disk/target/@dev`" in manual.page("xml.md")
    assert "culvert migrate [OPTIONS] DOMAIN DEST-URI" in manual.page("cli.md")
    assert "culvertd" in manual.page("cli.md")
