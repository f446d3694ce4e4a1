"""The work that a definition makes grows with its length and no faster; what cannot fit is refused before the work.

Counted are the lines of culvert that are run, so that no clock decides.
"""

from __future__ import annotations

import string
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from culvert.domain import abi
from culvert.domain.defaults import complete
from culvert.domain.format import format
from culvert.domain.parse import parse
from culvert.domain.start import prepare
from culvert.ground import errors
from tests.domain import golden

# At most so many lines for a device; and in all for what is bounded however long the text: 256 buses, 256 numbers.
LINES_PER_DEVICE = 600
LINES_BOUNDED = 400_000


def _name(prefix: str, number: int) -> str:
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = string.ascii_lowercase[rest] + letters
    return prefix + letters


SHAPES: dict[str, Callable[[int], str]] = {
    "virtio disks": lambda n: f"<disk><source file='/x'/><target dev='{_name('vd', n)}'/></disk>",
    "sata disks": lambda n: f"<disk><source file='/x'/><target dev='{_name('sd', n)}' bus='sata'/></disk>",
    "old cards": lambda n: "<interface type='user'/>",
    "virtio cards": lambda n: "<interface type='user'><model type='virtio'/></interface>",
    "random numbers": lambda n: "<rng model='virtio'><backend model='builtin'/></rng>",
    "watchdogs": lambda n: "<watchdog model='i6300esb'/>",
    "videos": lambda n: "<video><model type='virtio'/></video>",
    "tablets": lambda n: "<input type='tablet'/>",
    "hubs": lambda n: "<hub type='usb'/>",
    "channels": lambda n: f"<channel type='null'><target type='virtio' name='n{n}'/></channel>",
    "consoles": lambda n: "<console type='null'><target type='virtio'/></console>",
    "serial ports": lambda n: "<serial type='null'/>",
    "usb sets": lambda n: "<controller type='usb' model='ich9-uhci1'/>",
    "one usb set": lambda n: (
        "<controller type='usb' index='0' model='ich9-uhci1'><master startport='0'/></controller>"
    ),
    "serial controllers": lambda n: "<controller type='virtio-serial'/>",
    "root ports": lambda n: f"<controller type='pci' model='pcie-root-port' index='{n % 255 + 1}'/>",
    "bridges": lambda n: f"<controller type='pci' model='pci-bridge' index='{n % 255 + 1}'/>",
}


def described(counts: Mapping[str, int], machine: str) -> str:
    """A domain with so many devices of each shape."""
    devices = "".join(SHAPES[shape](number) for shape, count in counts.items() for number in range(count))
    return (
        f"<domain type='qemu'><name>g</name><memory>65536</memory><os><type machine='{machine}'>hvm</type></os>"
        f"<devices>{devices}</devices></domain>"
    )


def lines(work: Callable[[], object]) -> int:
    """How many lines of culvert ``work`` runs; a refusal is an end like another."""
    count = 0

    def inside(frame: FrameType, event: str, what: Any) -> Any:
        nonlocal count
        count += event == "line"
        return inside

    def called(frame: FrameType, event: str, what: Any) -> Any:
        return inside if "culvert" in frame.f_globals.get("__name__", "") else None

    before = sys.gettrace()
    sys.settrace(called)
    try:
        work()
    except errors.RequestError:
        pass
    finally:
        sys.settrace(before)
    return count


def way(xml: str) -> None:
    """All that is done with a definition from the client's text to a start."""
    definition = complete(parse(xml), golden.FACTS)
    abi.check(definition, definition)
    format(prepare(definition))


def allowed(devices: int) -> int:
    return LINES_BOUNDED + 4 * LINES_PER_DEVICE * devices


@pytest.mark.parametrize("machine", ["pc", "q35"])
@pytest.mark.parametrize("shape", SHAPES)
def test_completing_is_linear(shape: str, machine: str) -> None:
    definition = parse(described({shape: 800}, machine))
    assert lines(lambda: complete(definition, golden.FACTS)) <= LINES_BOUNDED + LINES_PER_DEVICE * 800


@pytest.mark.parametrize("shape", ["virtio disks", "old cards", "channels", "hubs"])
def test_twice_the_devices_are_twice_the_work(shape: str) -> None:
    small, big = (lines(lambda n=n: way(described({shape: n}, "pc"))) for n in (600, 1200))  # type: ignore[misc]
    assert big <= 2.5 * small


@settings(max_examples=10)
@given(
    st.dictionaries(st.sampled_from(sorted(SHAPES)), st.integers(1, 200), min_size=1, max_size=5),
    st.sampled_from(["pc", "q35"]),
)
def test_any_mixture_is_linear(counts: dict[str, int], machine: str) -> None:
    assert lines(lambda: way(described(counts, machine))) <= allowed(sum(counts.values()))


@pytest.mark.parametrize(
    ("shape", "machine", "what"),
    [
        ("old cards", "pc", "no more PCI buses are available: 9002 devices"),
        ("old cards", "q35", "no more PCI buses are available: 9001 devices"),
        ("virtio cards", "q35", "no more PCI buses are available: 9002 devices"),
        ("sata disks", "q35", "sata controller 1499 would be needed: 255 is the highest"),
        ("channels", "pc", "virtio-serial controller 299 would be needed"),
        ("tablets", "pc", "no USB port is free for a hub: hubs behind hubs go 3 deep"),
        ("hubs", "pc", "no USB port is free for a hub: hubs behind hubs go 3 deep"),
        ("usb sets", "pc", "9000 controllers of type 'usb' are more than 1024"),
        ("serial controllers", "pc", "9000 controllers of type 'virtio-serial' are more than 256"),
    ],
)
def test_what_cannot_fit_is_refused_before_it_is_placed(shape: str, machine: str, what: str) -> None:
    definition = parse(described({shape: 9000}, machine))
    with pytest.raises(errors.RequestError, match=what):
        complete(definition, golden.FACTS)
    assert lines(lambda: complete(definition, golden.FACTS)) <= 250 * 9000


def test_root_ports_that_find_no_slot_are_refused_at_once() -> None:
    definition = parse(described({"root ports": 248}, "q35"))
    with pytest.raises(errors.XMLError, match="no more PCI slots are available for root ports"):
        complete(definition, golden.FACTS)


def test_numbers_of_controllers_run_out() -> None:
    definition = parse(described({"one usb set": 1, "usb sets": 1000}, "q35"))
    with pytest.raises(errors.XMLError, match="no number is left for one more controller of type 'usb'"):
        complete(definition, golden.FACTS)
