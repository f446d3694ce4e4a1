"""Spelling of single values."""

from __future__ import annotations

from typing import Any

import pytest

from culvert.domain import scalars
from culvert.ground import errors

HEXADECIMAL = scalars.Integer(high=0xFF, width=2)


@pytest.mark.parametrize(
    ("scalar", "text", "value", "written"),
    [
        (scalars.UINT, " 7", 7, "7"),
        (scalars.UINT, "+7", 7, "7"),
        (scalars.UINT, "007", 7, "7"),
        (HEXADECIMAL, "010", 8, "0x08"),
        (HEXADECIMAL, "0", 0, "0x00"),
        (scalars.Integer(any_base=True), "0X10", 16, "16"),
        (scalars.YES_OR_NOT, "Yes", False, "no"),
        (HEXADECIMAL, "0x1F", 31, "0x1f"),
        (HEXADECIMAL, "31", 31, "0x1f"),
        (scalars.Integer(low=-1), "-1", -1, "-1"),
        (scalars.ON_OFF, "on", True, "on"),
        (scalars.YES_NO, "no", False, "no"),
        (scalars.UUID, "11111111222243338444000000000001", "11111111-2222-4333-8444-000000000001", None),
        (scalars.MAC, "52:54:00:AA:bb:0c", "52:54:00:aa:bb:0c", None),
        (scalars.one_of("a", "b"), "b", "b", "b"),
        (scalars.ANY_TEXT, "", "", ""),
    ],
)
def test_reads_and_writes(scalar: scalars.Scalar, text: str, value: Any, written: str | None) -> None:
    assert scalar.read(text, "/x") == value
    assert scalar.write(value) == (value if written is None else written)


@pytest.mark.parametrize(
    ("scalar", "text", "error"),
    [
        (scalars.UINT, "seven", errors.XMLError),
        (scalars.UINT, "", errors.XMLError),
        (scalars.UINT, "7 ", errors.XMLError),
        (scalars.UINT, "0x7", errors.XMLError),
        (HEXADECIMAL, "08", errors.XMLError),
        (scalars.UINT, "4294967296", errors.XMLError),
        (scalars.UINT, "-1", errors.XMLError),
        (scalars.UINT, "9" * 5000, errors.XMLError),
        (HEXADECIMAL, "0x100", errors.XMLError),
        (scalars.ON_OFF, "yes", errors.XMLError),
        (scalars.UUID, "1234", errors.XMLError),
        (scalars.MAC, "52:54:00:aa:bb", errors.XMLError),
        (scalars.TEXT, "", errors.XMLError),
        (scalars.NAME, "a/b", errors.XMLError),
        (scalars.NAME, "  ", errors.XMLError),
        (scalars.PATH, "relative", errors.XMLError),
        (scalars.TOKEN, "pc,usb=on", errors.XMLError),
        (scalars.one_of("a", "b"), "c", errors.ConfigUnsupported),
    ],
)
def test_refuses_and_names_the_place(scalar: scalars.Scalar, text: str, error: type[errors.RequestError]) -> None:
    with pytest.raises(error, match="/domain/x"):
        scalar.read(text, "/domain/x")
