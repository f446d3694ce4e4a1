"""What is said of a guest before it moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from culvert.domain import parse
from culvert.migration.options import preflight

XML = "<domain type='qemu'><name>g</name><memory unit='KiB'>20480</memory><os><type>hvm</type></os></domain>"


@pytest.mark.parametrize(
    ("kind", "memory", "warned"),
    [("qemu", 20480, True), ("qemu", 20488, False), ("qemu", 20480 + 256, True), ("kvm", 20480, False)],
)
def test_a_guest_whose_pages_qemu_may_lose_is_known(kind: str, memory: int, warned: bool) -> None:
    definition = replace(parse.parse(XML), type=kind, memory=memory)
    assert preflight.loses_pages(definition) is warned
