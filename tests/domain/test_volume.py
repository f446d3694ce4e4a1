"""Volumes as values: what is read, what is refused in libvirt's words, how ``qemu-img`` is told."""

from __future__ import annotations

import pytest

from culvert.domain import volume as volume_xml
from culvert.domain.volume import VolumeDef
from culvert.ground import errors


def volume(inner: str, *, like: int | None = None) -> VolumeDef:
    return volume_xml.parse(f"<volume><name>v</name>{inner}</volume>", like=like)


@pytest.mark.parametrize(
    ("inner", "capacity", "allocation"),
    [
        ("<capacity>1000</capacity>", 1000, 1000),
        ("<capacity unit='G'>1</capacity><allocation>0</allocation>", 1 << 30, 0),
        ("<capacity unit='MB'>1</capacity><allocation unit='KiB'>4</allocation>", 1_000_000, 4096),
        ("<backingStore><path>/b</path></backingStore>", 0, 0),
    ],
)
def test_sizes(inner: str, capacity: int, allocation: int) -> None:
    found = volume(inner)
    assert found.capacity is not None
    assert found.allocation is not None
    assert (found.capacity.bytes, found.allocation.bytes) == (capacity, allocation)


def test_a_copy_is_as_large_as_what_it_is_made_of() -> None:
    found = volume("<capacity>1</capacity>", like=99)
    assert found.capacity is not None
    assert found.capacity.bytes == 99


@pytest.mark.parametrize(
    ("inner", "refusal", "says"),
    [
        ("", errors.XMLError, "missing capacity element"),
        ("<capacity unit='x'>1</capacity>", errors.InvalidArgument, "unknown suffix 'x'"),
        ("<capacity unit='E'>99</capacity>", errors.Overflow, "too large"),
        ("<capacity>1</capacity><target><format type='odd'/></target>", errors.ConfigUnsupported, "type odd"),
        ("<capacity>1</capacity><target><format type='cow'/></target>", errors.ConfigUnsupported, "'cow'"),
        ("<capacity>1</capacity><what/>", errors.ConfigUnsupported, "/volume/what"),
    ],
)
def test_what_cannot_be_read(inner: str, refusal: type[errors.RequestError], says: str) -> None:
    with pytest.raises(refusal, match=says):
        volume(inner)


QCOW2 = "<capacity>1</capacity><target><format type='qcow2'/>{}</target>"
BASE = "<backingStore><path>/b</path><format type='raw'/></backingStore>"


@pytest.mark.parametrize(
    ("inner", "preallocated", "says"),
    [
        ("<capacity>1</capacity>", True, "not supported for raw volumes"),
        ("<capacity>1</capacity><target><format type='vmdk'/></target>", True, "only available with qcow2"),
        ("<capacity>1</capacity><target><compat>1.1</compat></target>", False, "compatibility option only"),
        (f"<capacity>1</capacity>{BASE}", False, "backing storage not supported for raw"),
        (QCOW2.format("") + BASE, True, "conflicts with backing store"),
        (
            QCOW2.format("<compat>0.10</compat><features><lazy_refcounts/></features>"),
            False,
            "lazy_refcounts not supported with compat level 0.10",
        ),
        (QCOW2.format("<encryption format='luks'/>"), False, "no secret provided for luks encryption"),
    ],
)
def test_what_no_image_can_be(inner: str, preallocated: bool, says: str) -> None:
    with pytest.raises(errors.RequestError, match=says):
        volume_xml.check(volume(inner), preallocated=preallocated)


@pytest.mark.parametrize("name", ["a/b", "..", "a\nb"])
def test_what_is_no_name(name: str) -> None:
    found = volume("<capacity>1</capacity>")
    with pytest.raises(errors.RequestError):
        volume_xml.check(VolumeDef(name=name, capacity=found.capacity), preallocated=False)


@pytest.mark.parametrize(
    ("inner", "preallocated", "options"),
    [
        (QCOW2.format(""), False, ["compat=0.10"]),
        (QCOW2.format("<features><lazy_refcounts/></features>"), False, ["compat=1.1", "lazy_refcounts"]),
        (QCOW2.format("") + BASE, False, ["backing_fmt=raw", "compat=0.10"]),
        (QCOW2.format(""), True, ["preallocation=falloc", "compat=0.10"]),
        (QCOW2.format("").replace("<target>", "<allocation>0</allocation><target>"), True, None),
        ("<capacity>1</capacity><target><format type='vmdk'/></target>", False, []),
    ],
)
def test_how_an_image_is_made(inner: str, preallocated: bool, options: list[str] | None) -> None:
    told = volume_xml.image_options(volume(inner), preallocated=preallocated)
    assert told == (["preallocation=metadata", "compat=0.10"] if options is None else options)
