"""Linux key codes as QEMU numbers them."""

from __future__ import annotations

import pytest

from culvert.drivers.qemu import keys
from culvert.ground import errors


@pytest.mark.parametrize(("linux", "qnum"), [(1, 1), (30, 30), (83, 83), (87, 87), (97, 157), (111, 211), (119, 198)])
def test_linux_codes(linux: int, qnum: int) -> None:
    assert keys.qnum(keys.LINUX, linux) == qnum


def test_no_two_keys_are_one() -> None:
    codes = [code for code in range(256) if code in keys.SAME or code in keys._LINUX]
    assert len({keys.qnum(keys.LINUX, code) for code in codes}) == len(codes)


@pytest.mark.parametrize("code", [0, 256, 2**32 - 1])
@pytest.mark.parametrize("codeset", [keys.LINUX, keys.QNUM])
def test_codes_that_are_no_keys(codeset: int, code: int) -> None:
    with pytest.raises(errors.InvalidArgument, match="cannot translate"):
        keys.qnum(codeset, code)


def test_other_code_sets() -> None:
    with pytest.raises(errors.ArgumentUnsupported, match="code set 7"):
        keys.qnum(7, 4)
