"""What is said of a guest before it migrates, by the QEMU that it has."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from culvert.domain.parse import parse
from culvert.ground import errors
from culvert.hypervisor.contract import Guest
from culvert.migration.options import preflight
from culvert.migration.options.parameters import Options
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.protocol.constants_state import DomainState
from tests.drivers.support import domain_xml

LIVE = Options(flags=MigrateFlag.LIVE)


def guest(version: int) -> Guest:
    """Under TCG, of whole MiB."""

    async def asked() -> int:
        return version

    async def nothing() -> list[str]:
        return []

    hypervisor = SimpleNamespace(version=asked, blockers=nothing)
    definition = parse(domain_xml("g"))
    made = SimpleNamespace(name="g", is_active=True, state=DomainState.RUNNING, annotations={}, definition=definition)
    made.hypervisor = hypervisor
    return cast(Guest, cast(Any, made))


@pytest.mark.parametrize(
    ("version", "warned"), [(7_002_022, True), (8_002_000, True), (9_000_000, False), (11_001_003, False)]
)
async def test_who_loses_pages_is_warned(version: int, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await preflight.check(guest(version), LIVE)
    assert ("can lose pages" in caplog.text) is warned


@pytest.mark.parametrize(
    ("version", "flags", "refused"),
    [
        (11_001_003, MigrateFlag.POSTCOPY, True),
        (11_001_003, MigrateFlag.POSTCOPY | MigrateFlag.UNSAFE, False),
        (11_001_003, MigrateFlag.LIVE, False),
        (10_000_013, MigrateFlag.POSTCOPY, False),
    ],
)
async def test_who_would_lose_writes_is_not_moved_so(version: int, flags: MigrateFlag, refused: bool) -> None:
    """QEMU 11.1 loses writes of a guest under TCG once post-copy is allowed."""
    asked = preflight.check(guest(version), Options(flags=MigrateFlag.LIVE | flags))
    if not refused:
        await asked
        return
    with pytest.raises(errors.MigrateUnsafe, match=r"Unsafe migration: domain 'g' runs under TCG, and QEMU 11\.1\.3"):
        await asked
