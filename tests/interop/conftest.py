"""One culvert and one libvirtd, with certificates; a test that fails shows what both have logged."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support.interop import Pair, pair

_PAIR = pytest.StashKey[Pair]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed and _PAIR in item.stash:
        report.sections.append(("logs of culvert and libvirtd", item.stash[_PAIR].log_tail()))
    return report


@pytest.fixture
def hosts(folder: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Both, running."""
    with pair(folder) as both:
        request.node.stash[_PAIR] = both
        yield both
