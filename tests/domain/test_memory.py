"""How much RAM QEMU is given, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from culvert.domain import memory
from culvert.domain.definition import DomainDef
from culvert.drivers.qemu.abilities.ability import NONE
from culvert.drivers.qemu.command.command import LaunchOptions, build
from tests.domain import golden


def domain(kind: str, kib: int) -> DomainDef:
    definition = golden.running(golden.complete("pc-minimal"))
    return replace(definition, type=kind, memory=kib)


@pytest.mark.parametrize(
    ("kind", "kib", "given", "warned"),
    [
        ("qemu", 20480, 20480, True),
        ("qemu", 20488, 20488, False),
        ("qemu", 20480 + 256, 20480 + 256, True),
        ("qemu", 131076, 129 * 1024, True),  # no multiple of 8 KiB: whole MiB it gets, and those are not safe
        ("qemu", 131080, 131080, False),
        ("kvm", 20480, 20480, False),
        ("kvm", 20488, 21 * 1024, False),
    ],
)
def test_what_qemu_gets_is_what_is_warned_of(kind: str, kib: int, given: int, warned: bool) -> None:
    definition = domain(kind, kib)
    assert memory.ram(definition) == given
    argv = build(definition, LaunchOptions(monitor_fd=9), NONE)
    size = argv[argv.index("-m") + 1]
    assert size == (f"{given}k" if given % 1024 else str(given // 1024))
    assert f'"size":{given * 1024}' in next(word for word in argv if '"id":"pc.ram"' in word)
    assert memory.loses_pages(definition) is warned


@pytest.mark.parametrize("kib", [20480, 20481, 20488, 131072, 131076, 131328])
def test_the_size_that_is_advised_is_given_and_safe(kib: int) -> None:
    advised = memory.safe(domain("qemu", kib))
    assert advised >= kib
    assert memory.ram(domain("qemu", advised)) == advised
    assert not memory.loses_pages(domain("qemu", advised))
