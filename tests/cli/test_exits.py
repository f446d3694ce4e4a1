"""Exit codes: documented where people look for them."""

from __future__ import annotations

from click.testing import CliRunner

from culvert.cli import exits
from culvert.cli.main import cli


def test_every_code_has_its_meaning() -> None:
    assert set(exits.MEANINGS) == set(exits.Exit)
    assert [int(code) for code in exits.Exit] == list(range(len(exits.Exit)))


def test_help_tells_every_code() -> None:
    for args in (["--help"], ["migrate", "--help"]):
        text = CliRunner().invoke(cli, args).output
        for code, meaning in exits.MEANINGS.items():
            assert f"{code.value}  {meaning}" in text
