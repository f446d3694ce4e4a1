"""Sizes of images that no QEMU has open."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from culvert.drivers.qemu import image
from culvert.ground import errors

MIB = 1024 * 1024


def test_a_raw_image_with_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.write(b"x" * 4096)
        file.truncate(MIB)
    found = image.sizes(str(path), "raw")
    assert (found.capacity, found.physical) == (MIB, MIB)
    assert 4096 <= found.allocation < MIB


def test_a_qcow2_image(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "3G"], check=True)
    found = image.sizes(str(path), "qcow2")
    assert found.capacity == 3 * 1024 * MIB
    assert found.physical == path.stat().st_size


def test_what_is_not_what_it_is_said_to_be_is_as_long_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"QFI\xfb")
    assert image.sizes(str(path), "qcow2").capacity == 4


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.SystemCallError, match="cannot look at disk image") as raised:
        image.sizes(str(tmp_path / "gone"), "raw")
    assert raised.value.errno == 2
