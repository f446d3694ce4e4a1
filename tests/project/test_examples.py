"""Examples in the documents are files that tests run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
SHOWN_IN = {"client_api.py": "client.md"}


def test_every_example_is_shown_somewhere() -> None:
    assert {example.name for example in EXAMPLES} == set(SHOWN_IN)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_a_document_shows_its_example_to_the_letter(example: Path) -> None:
    page = (DOCS / SHOWN_IN[example.name]).read_text("utf-8")
    assert example.read_text("utf-8") in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
