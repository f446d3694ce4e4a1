"""What concerns another host alone is left out of its XML; what somebody has wished for is not."""

from __future__ import annotations

import pytest

from culvert.domain import parse as xml_parse
from culvert.ground import errors
from culvert.migration.options import foreign

TEXT = "<domain type='qemu'><name>g</name><memory>1024</memory><os><type machine='pc'>hvm</type></os>{label}</domain>"

MADE_UP = ["", "<seclabel type='dynamic' model='dac' relabel='yes'/>", "<seclabel type='none' model='apparmor'/>"]

WISHES = [
    "<seclabel type='static' model='dac'><label>+0:+0</label></seclabel>",
    "<seclabel type='dynamic' model='selinux'><baselabel>x</baselabel></seclabel>",
    "<seclabel/>",
]


@pytest.mark.parametrize("label", [*MADE_UP, "".join(MADE_UP)])
def test_a_label_that_a_driver_has_made_up(label: str) -> None:
    assert foreign.parse(TEXT.format(label=label)) == xml_parse.parse(TEXT.format(label=""))


@pytest.mark.parametrize("label", WISHES)
def test_a_label_that_somebody_has_chosen(label: str) -> None:
    with pytest.raises(errors.ConfigUnsupported, match="/domain/seclabel"):
        foreign.parse(TEXT.format(label=MADE_UP[1] + label))


def test_what_is_no_domain() -> None:
    with pytest.raises(errors.XMLError):
        foreign.parse("<seclabel")
