"""The machine's sources, read as apt reads them, and what they are for another suite."""

from __future__ import annotations

import pytest

from generations import apt
from generations.apt import Mirrors, Source

STANZAS = """Types: deb
# as of some day
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://elsewhere.example/debian
Suites: bookworm
Components: main
"""
LINES = """# deb http://old.example/debian bookworm main
deb [signed-by=/usr/share/keyrings/a.gpg] https://lines.example/debian bookworm main contrib
deb-src https://lines.example/debian bookworm main
"""


def test_stanzas_and_lines() -> None:
    assert list(apt.read([STANZAS, LINES])) == [
        Source("http://mirror.example/debian", "bookworm"),
        Source("http://mirror.example/debian", "bookworm-updates"),
        Source("http://mirror.example/debian-security", "bookworm-security"),
        Source("https://lines.example/debian", "bookworm"),
    ]


def test_mirrors_of_the_machine() -> None:
    found = apt.mirrors(apt.read([STANZAS]), "bookworm")
    assert found == Mirrors("http://mirror.example/debian", "http://mirror.example/debian-security")
    assert apt.mirrors(apt.read([LINES]), "bookworm").security == ""
    with pytest.raises(apt.NoMirror, match="'trixie'"):
        apt.mirrors(apt.read([STANZAS]), "trixie")


@pytest.mark.parametrize(
    ("suite", "backports", "suites"),
    [
        ("bookworm", False, ["bookworm", "bookworm-security"]),
        ("trixie", True, ["trixie", "trixie-security", "trixie-backports"]),
        ("testing", False, ["testing"]),
    ],
)
def test_sources_of_a_root(suite: str, backports: bool, suites: list[str]) -> None:
    text = apt.sources_list(Mirrors("http://m/debian", "http://m/security"), suite, backports=backports)
    assert [each.suite for each in apt.read([text])] == suites


def test_backports_come_first() -> None:
    assert "Pin: release n=trixie-backports\n" in apt.preferences("trixie")
