"""Which libvirt a daemon says it is, by what its host has."""

from __future__ import annotations

import pytest

from culvert.daemon import lib_version

FOLDER = "/usr/lib/x86_64-linux-gnu"


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ([], lib_version.OLDEST),
        (["libvirt.so.0.9000.0"], 9_000_000),
        (["libvirt.so.0.11003.0"], 11_003_000),
        (["libvirt.so.0.12009.1", "libvirt.so.0.11003.0"], lib_version.NEWEST),
        (["libvirt.so.0.10000.2"], 10_000_002),
        (["libvirt.so.0.8000.0", "libvirt.so.0", "libvirt.so.0.x.y", "libvirt-lxc.so.0.11003.0"], lib_version.OLDEST),
        (["libvirt.so.0.13001.0"], lib_version.NEWEST),
    ],
)
def test_the_newest_library_counts(files: list[str], version: int) -> None:
    assert lib_version.of_files(f"{FOLDER}/{name}" for name in files) == version


def test_this_host_has_one_within_what_is_known() -> None:
    assert lib_version.OLDEST <= lib_version.installed() <= lib_version.NEWEST
