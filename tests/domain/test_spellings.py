"""What libvirt reads as "not given", or as another way to write the same, is read so."""

from __future__ import annotations

import pytest

from culvert.domain import validate
from culvert.domain.defaults import complete
from culvert.domain.definition import DomainDef
from culvert.domain.parse import parse
from tests.domain import golden
from tests.domain.spellings import SPELLINGS, Spelling


def completed(text: str) -> DomainDef:
    definition = complete(parse(text), golden.FACTS)
    validate.check(definition)
    return definition


@pytest.mark.parametrize("row", SPELLINGS, ids=lambda row: row.name)
def test_means_the_same(row: Spelling) -> None:
    assert completed(row.written) == completed(row.plain)
