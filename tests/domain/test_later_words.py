"""What libvirt has written of every machine since 9.1, and what culvert makes of it (recorded from 11.3 and 12.9)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from culvert.domain import abi, validate
from culvert.domain.defaults import complete
from culvert.domain.definition import DomainDef
from culvert.domain.format import format
from culvert.domain.parse import parse
from culvert.drivers.qemu.abilities.ability import NONE
from culvert.drivers.qemu.command.command import LaunchOptions, build
from culvert.ground import errors
from tests.domain import golden

LATER = replace(golden.FACTS, itco=True)


def q35(devices: str, *, later: bool = True, machine: str = "q35", cpu: str = "") -> DomainDef:
    xml = f"""<domain type='qemu'><name>g</name><memory>65536</memory><vcpu>2</vcpu>{cpu}
    <os><type arch='x86_64' machine='{machine}'>hvm</type></os><devices>{devices}</devices></domain>"""
    return complete(parse(xml), LATER if later else golden.FACTS)


def watchdogs(definition: DomainDef) -> list[tuple[str, str | None]]:
    return [(one.model, one.action) for one in definition.devices.watchdogs]


def argv(definition: DomainDef) -> list[str]:
    return build(golden.running(definition), LaunchOptions(monitor_fd=9), NONE)


@pytest.mark.parametrize(
    ("given", "shown", "travels"),
    [
        ("", [("itco", "reset")], []),
        ("<watchdog model='itco' action='reset'><alias name='watchdog0'/></watchdog>", [("itco", "reset")], []),
        ("<watchdog model='itco'/>", [("itco", "reset")], []),
        ("<watchdog model='itco' action='none'/>", [("itco", "none")], [("itco", "none")]),
        (
            "<watchdog model='i6300esb' action='poweroff'/>",
            [("i6300esb", "poweroff"), ("itco", "poweroff")],
            [("i6300esb", "poweroff"), ("itco", "poweroff")],
        ),
        (
            "<watchdog model='itco'/><watchdog model='i6300esb'/>",
            [("itco", "reset"), ("i6300esb", "reset")],
            [("i6300esb", "reset")],
        ),
    ],
)
def test_the_watchdog_in_the_chip(
    given: str, shown: list[tuple[str, str | None]], travels: list[tuple[str, str | None]]
) -> None:
    definition = q35(given)
    validate.check(definition)
    assert watchdogs(definition) == shown
    sent = parse(format(definition, migratable=True))
    assert watchdogs(sent) == travels
    assert watchdogs(complete(sent, LATER)) == sorted(shown, key=lambda one: one[0])
    words = argv(definition)
    assert words.count("-watchdog-action") == 1
    assert words[words.index("-watchdog-action") + 1] == shown[0][1]
    assert words[words.index("ICH9-LPC.noreboot=off") - 1] == "-global"
    assert not any('"itco"' in word for word in words)


def test_it_is_not_added_where_it_was_not_shown() -> None:
    assert watchdogs(q35("", later=False)) == []
    assert watchdogs(q35("", machine="pc")) == []
    assert watchdogs(q35("<watchdog model='itco' action='reset'/>", later=False)) == [("itco", "reset")]


def test_it_makes_no_other_machine() -> None:
    before, after = q35("", later=False), q35("")
    abi.check(before, after)
    abi.check(after, before)
    with pytest.raises(errors.ConfigUnsupported, match="/domain/devices/watchdog count"):
        abi.check(before, q35("<watchdog model='ib700'/>", later=False))


@pytest.mark.parametrize(
    ("devices", "machine", "says"),
    [
        ("<watchdog model='itco'/>", "pc", "itco model of watchdog is only part of q35 machine"),
        ("<watchdog model='itco'/>" * 2, "q35", "domain can only have one watchdog with model 'itco'"),
        (
            "<watchdog model='itco' action='none'/><watchdog model='ib700'/>",
            "q35",
            "watchdogs with different actions are not supported with this QEMU binary",
        ),
        (
            "<watchdog model='itco'><address type='pci' slot='9'/></watchdog>",
            "q35",
            "itco model of watchdog is part of the machine and cannot have any address set.",
        ),
    ],
)
def test_what_libvirt_refuses_of_it(devices: str, machine: str, says: str) -> None:
    with pytest.raises(errors.ConfigUnsupported) as refused:
        validate.check(q35(devices, machine=machine))
    assert refused.value.message == f"unsupported configuration: {says}"


def test_clusters() -> None:
    cpu = "<cpu><topology sockets='1' dies='1' clusters='{}' cores='2' threads='1'/></cpu>"
    definition = q35("", cpu=cpu.format(1))
    assert "clusters='1'" in format(definition)
    assert "clusters" not in format(definition, migratable=True)
    assert "2,sockets=1,dies=1,cores=2,threads=1" in argv(definition)
    abi.check(definition, q35("", cpu=cpu.replace("clusters='{}'", "")))
    with pytest.raises(errors.XMLError, match="clusters"):
        q35("", cpu=cpu.format(2))


@pytest.mark.parametrize(
    ("device", "driver", "travels"), [("virtio-vga", "virtio-vga", False), ("virtio-gpu", "virtio-gpu-pci", True)]
)
def test_a_virtio_card_in_qemus_words(device: str, driver: str, travels: bool) -> None:
    video = "<video><model type='virtio' primary='yes'{}/></video>"
    definition = q35(video.format(f" device='{device}'"))
    assert f"device='{device}'" in format(definition)
    assert ("device='virtio-" in format(definition, migratable=True)) is travels
    assert any(f'"driver":"{driver}"' in word for word in argv(definition))
    unnamed = q35(video.format(""))
    if not travels:
        abi.check(definition, unnamed)
    else:
        with pytest.raises(errors.ConfigUnsupported, match="video"):
            abi.check(definition, unnamed)
