"""The command line of culvertd: what is refused before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from culvert.daemon import config as configuration
from culvert.daemon import main


def test_show_config_prints_a_file_that_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[limits]\nmax_clients = 3\n")
    arguments = ["--config", str(path), "--root", str(tmp_path), "--listen", "tcp://127.0.0.1:0", "--show-config"]
    shown = CliRunner().invoke(main.main, arguments)
    assert shown.exit_code == 0
    path.write_text(shown.output)
    config = configuration.load(path)
    assert config.limits.max_clients == 3
    assert config.daemon.listen == ["tcp://127.0.0.1:0"]


@pytest.mark.parametrize(
    "arguments", [["--config", "/nowhere.toml"], ["--listen", "rubbish"], ["--listen", "tcp://0.0.0.0:1"]]
)
def test_what_is_wrong_ends_it_with_2_and_makes_nothing(tmp_path: Path, arguments: list[str]) -> None:
    root = tmp_path / "root"
    result = CliRunner().invoke(main.main, ["--root", str(root), *arguments])
    assert result.exit_code == 2
    assert result.stderr.startswith("culvertd: ")
    assert not root.exists()
