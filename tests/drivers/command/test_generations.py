"""The command line for every generation of QEMU, against that of the libvirt of its time (``record``)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from culvert.domain.defaults import complete
from culvert.domain.definition import DomainDef
from culvert.domain.host import HostFacts
from culvert.domain.parse import parse
from culvert.drivers.qemu.abilities.ability import Abilities, Ability
from culvert.drivers.qemu.command.command import LaunchOptions, build
from tests.domain import golden
from tests.drivers.command.record import RECORDED

GENERATIONS = sorted(path.name for path in RECORDED.iterdir())
OPTIONS = LaunchOptions(monitor_fd=9, tap_fds=dict(enumerate(range(20, 60))), channel_directory="/run/channels")

# What is left out or written alike before two command lines are compared, and why: nothing of it is seen by a guest,
# nor is it part of the state that travels.
NORMAL = {
    "-name": "culvert leaves the name of the process as it is",
    "-blockdev, drive": "nodes are the host's: libvirt has had one for a raw image since 10.1, where there were two",
    "masterKey0": "libvirt hides passwords from who reads the command line; culvert hands them over by the monitor",
    "-netdev": "asked for a command line, libvirt writes every card as a tap that does not exist",
    "bootindex, romfile, driver of a card": "and leaves these out; those of a process are in tests/domain/golden",
    "path, fd of charmonitor, charchannel": "sockets of the host",
    "port of -spice": "the first that was free",
    "unix of -spice": "and unix=on, as later libvirts write it, are one to every QEMU",
    "port of usb-audio, usb-tablet": "later libvirts give sound cards theirs first; what travels has them",
    "-m": "libvirt has said KiB since 9.1; QEMU takes MiB all the same",
    "pflash0, pflash1": "as -blockdev: nodes are the host's",
    "-chardev of a TPM": "asked for a command line, libvirt has no emulator, and writes one that is null",
    "drive of cdroms on USB": "libvirt 12.9 makes it of usb-bot and a SCSI drive; culvert, as 11.3, of usb-storage",
    "clusters": "a PC has none; to say so by a 1 is deprecated since QEMU 9.0",
}
ALONE = ("-S", "-no-user-config", "-nodefaults", "-no-shutdown", "-no-acpi", "-no-hpet")
OF_A_CARD = (
    *("bootindex", "rombar", "romfile", "host_mtu", "tx", "ioeventfd", "event_idx", "rx_queue_size"),
    *("csum", "gso", "host_tso4", "host_tso6", "host_ecn", "host_ufo", "mrg_rxbuf"),
    *("guest_csum", "guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo"),
)


def normal(argv: list[str]) -> list[tuple[str, Any]]:
    """(option, value) pairs in order, by ``NORMAL``."""
    words = iter(argv[1:])
    pairs = [(word, "" if word in ALONE else next(words)) for word in words]
    parsed = [(word, json.loads(told) if told.startswith("{") else told) for word, told in pairs]
    return [
        (word, _value(word, told))
        for word, told in parsed
        if word not in ("-name", "-blockdev") and not (isinstance(told, dict) and _left_out(told))
    ]


def _left_out(told: dict[str, Any]) -> bool:
    on_usb = told.get("driver") in ("usb-storage", "usb-bot") or str(told.get("bus")).startswith("usb-disk")
    return on_usb or told.get("id") == "masterKey0"


def _memory(value: str) -> int:
    return int(value[5:-1]) if value.startswith("size=") else int(value) * 1024


def _spice(value: str) -> list[str]:
    return ["unix=on" if part == "unix" else part for part in value.split(",") if not part.startswith("port=")]


def _chardev(value: Any) -> Any:
    if "id=chrtpm" in value:
        return "id=chrtpm"
    if not value.startswith(("socket,id=charmonitor", "socket,id=charchannel")):
        return value
    return [part for part in value.split(",") if not part.startswith(("path=", "fd="))]


BY_OPTION: dict[str, Callable[[Any], Any]] = {
    "-m": _memory,
    "-machine": lambda value: re.sub(r"(pflash[01]=libvirt-pflash[01])-(storage|format)", r"\1", value),
    "-netdev": lambda value: value["id"],
    "-smp": lambda value: value.replace(",clusters=1", ""),
    "-spice": _spice,
    "-chardev": _chardev,
}


def _value(word: str, value: Any) -> Any:
    if word in BY_OPTION:
        return BY_OPTION[word](value)
    if not isinstance(value, dict):
        return value
    left_out = ("drive", *(OF_A_CARD if "netdev" in value else ()))
    if value.get("driver") in ("usb-audio", "usb-tablet"):
        left_out += ("port",)
    return {key: told for key, told in value.items() if key not in left_out}


# What the libvirt of a generation refuses and culvert runs there all the same, and why.
LENIENT = {
    (generation, "q35-vendor-and-console"): "ib700 on q35: libvirt 9.0 takes it, so such guests run, and may arrive"
    for generation in ("10.0", "11.1")
}


class Generation:
    """A QEMU with the libvirt of its time."""

    def __init__(self, name: str) -> None:
        self.folder = RECORDED / name
        told = json.loads((self.folder / "qemu.json").read_text())
        self.abilities = Abilities(frozenset(map(Ability, told["flags"])))
        self.facts = HostFacts(
            machines={**{name: name for name in told["machines"]}, **told["aliases"]},
            uuid=golden.UUID,
            itco=Ability.ITCO_BITES in self.abilities,
        )

    def definition(self, name: str) -> DomainDef:
        return golden.running(complete(parse(golden.text(name)), self.facts))

    def argv(self, name: str) -> list[str]:
        return (self.folder / f"{name}.argv").read_text().rstrip("\n").split("\n")

    def refuses(self, name: str) -> bool:
        return (self.folder / f"{name}.refused").exists()


RECORDS = sorted((path.parent.name, path.stem) for path in RECORDED.glob("*/*") if path.suffix != ".json")


@pytest.mark.parametrize("generation", sorted({generation for generation, _ in RECORDS}))
def test_every_definition_is_recorded(generation: str) -> None:
    """Who adds one runs ``record`` on a machine of each generation (``make generations`` has them)."""
    assert {name for of, name in RECORDS if of == generation} == set(golden.NAMES)


@pytest.mark.parametrize(("generation", "name"), RECORDS)
def test_is_the_command_line_of_the_libvirt_of_its_time(generation: str, name: str) -> None:
    made = Generation(generation)
    assert made.refuses(name) == ((generation, name) in LENIENT)
    if made.refuses(name):
        assert build(made.definition(name), OPTIONS, made.abilities)
        return
    ours = normal(build(made.definition(name), OPTIONS, made.abilities))
    theirs = normal(made.argv(name))
    assert [each for each in theirs if each not in ours] == []
    assert ours == theirs
