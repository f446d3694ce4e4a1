"""What libvirt 9.0 takes and what it refuses, with its codes: a table that its daemon has filled in.

``verdicts.txt`` has only definitions that both come to the same verdict on, and that is what it holds; the daemon is
asked again by ``tests/interop/test_verdicts.py``.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from culvert.domain import validate
from culvert.domain.defaults import complete
from culvert.domain.format import format as format_xml
from culvert.domain.parse import parse, parse_device
from culvert.ground import errors
from tests.domain import golden, verdicts
from tests.domain.test_virt_install import RUN, completed, text


@pytest.mark.parametrize("one", verdicts.ROWS, ids=lambda one: one.name)
def test_the_verdict_is_libvirts(one: verdicts.Verdict) -> None:
    if one.code == 0:
        validate.check(complete(parse(one.xml), golden.FACTS))
        return
    with pytest.raises(errors.RequestError) as refused:
        validate.check(complete(parse(one.xml), golden.FACTS))
    assert refused.value.code == one.code, refused.value.message


@pytest.mark.parametrize("name", golden.NAMES)
def test_what_libvirt_has_defined_is_valid(name: str) -> None:
    validate.check(golden.complete(name))
    validate.check(golden.running(golden.complete(name)))


@pytest.mark.parametrize("name", RUN)
def test_what_virt_install_writes_is_valid(name: str) -> None:
    validate.check(completed(text(name)))


@pytest.mark.parametrize(
    ("xml", "what"),
    [
        (
            "<disk><driver type='qcow2'/><source file='/d'/><target dev='vda'/><shareable/></disk>",
            "shared access for disk 'vda' requires use of supported storage format",
        ),
        (
            "<disk><driver io='native'/><source file='/d'/><target dev='vda'/></disk>",
            "needs either no disk cache or directsync cache mode",
        ),
        ("<interface type='user'><mtu size='1500'/></interface>", "no MTU that could be set"),
    ],
)
def test_a_device_to_be_plugged_in_is_looked_at_too(xml: str, what: str) -> None:
    with pytest.raises(errors.ConfigUnsupported, match=what):
        validate.check_device(parse_device(xml))


def test_what_replaces_a_definition_is_looked_at_unless_that_was_wrong_already() -> None:
    good = golden.complete("pc-minimal")
    bad, worse = replace(good, on_reboot="preserve"), replace(good, on_reboot="preserve", title="two\nlines")
    validate.check_replaced(good, good)
    validate.check_replaced(bad, bad)
    validate.check_replaced(bad, worse)
    with pytest.raises(errors.ConfigUnsupported, match="on_poweroff and on_reboot"):
        validate.check_replaced(good, bad)


@pytest.mark.parametrize("name", golden.NAMES)
def test_what_is_shown_of_a_saved_guest_is_taken_back(name: str) -> None:
    kept = format_xml(golden.running(golden.complete(name)), migratable=True, secure=True)
    validate.check_replaced(parse(kept), parse(kept))
    validate.check(parse(kept))
