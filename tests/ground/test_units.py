"""Memory sizes in libvirt's spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground import errors, units


@pytest.mark.parametrize(
    ("value", "unit", "kib"),
    [
        (1, "KiB", 1),
        (512, "MiB", 524288),
        (1, "GiB", 1048576),
        (1, "b", 1),  # rounded up
        (1025, "bytes", 2),
        (1, "MB", 977),
        (2, "k", 2),
        (0, "G", 0),
        (3, "", 3),
        (1, "Mib", 1024),
        (1, "MIB", 1024),
        (1, "m", 1024),
        (1, "mb", 977),
        (1025, "Byte", 2),
        (1, "PiB", 2**40),
        (1, "e", 2**50),
    ],
)
def test_to_kib(value: int, unit: str, kib: int) -> None:
    assert units.to_kib(value, unit) == kib


@pytest.mark.parametrize("unit", ["i", "MiBs", "MBs", "Ki", "Z", "bit"])
def test_an_unknown_unit_is_named(unit: str) -> None:
    with pytest.raises(errors.XMLError, match=f"'{unit}'"):
        units.to_kib(1, unit)


SCALES = {"b": 1, "KB": 1000, "k": 2**10, "MB": 10**6, "MiB": 2**20, "G": 2**30}


def test_more_than_can_be_counted() -> None:
    with pytest.raises(errors.XMLError, match="more bytes than can be counted"):
        units.to_kib(2**40, "PiB")


@given(st.integers(0, 2**33), st.sampled_from(sorted(SCALES)))
def test_rounding_never_loses_memory(value: int, unit: str) -> None:
    kib = units.to_kib(value, unit)
    assert (kib - 1) * units.KiB < value * SCALES[unit] <= kib * units.KiB
