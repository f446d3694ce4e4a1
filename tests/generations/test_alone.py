"""Two runs of ``make generations`` do not share a place."""

from __future__ import annotations

from pathlib import Path

import pytest

from generations.__main__ import alone
from generations.roots import NoRoot


def test_a_place_is_one_run_s(tmp_path: Path) -> None:
    with alone(tmp_path / "place") as folder:
        assert folder.is_dir()
        with pytest.raises(NoRoot, match="another run is at work"), alone(folder):
            pass
    with alone(folder):
        pass
