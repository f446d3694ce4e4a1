"""A destination that cannot run the guest says who it is, and what would have travelled."""

from __future__ import annotations

import pytest

from culvert.ground import errors
from culvert.migration.options import fitting

MACHINES = ("pc", "q35", "pc-q35-2.4", "pc-q35-7.2", "pc-q35-10.0", "pc-i440fx-7.2", "none", "isapc")


@pytest.mark.parametrize(
    ("machine", "machines", "advice"),
    [
        ("pc-q35-11.1", MACHINES, ", whose newest machine type of that family is 'pc-q35-10.0'"),
        ("pc-i440fx-2.3", MACHINES, ", whose newest machine type of that family is 'pc-i440fx-7.2'"),
        ("pc-q35-10.0", ("microvm",), ", which has no machine type of that family"),
        ("pc-q35-7.2", MACHINES, ""),
        ("isapc2", MACHINES, ""),
    ],
)
def test_what_would_have_travelled(machine: str, machines: tuple[str, ...], advice: str) -> None:
    error = errors.ConfigUnsupported("unsupported configuration: Emulator '/q' does not support it")
    told = fitting.refused(error, host="beta", machine=machine, machines=machines)
    assert type(told) is errors.ConfigUnsupported
    assert told.message == f"{error.message}, at the destination, host 'beta'{advice}"
