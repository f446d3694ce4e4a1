"""What the tests of the migration share: a journal of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from culvert.migration.journal.journal import Journal


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(tmp_path / "migrations.sqlite")
    await opened.open()
    yield opened
    await opened.close()
