"""A grant opens the attempt that it was made for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from culvert.migration.options import grant


def test_a_grant_opens_its_own_seal_and_no_other() -> None:
    one, other = grant.make(), grant.make()
    assert grant.opens(one, grant.seal(one))
    assert not grant.opens(one, grant.seal(other))
    assert not grant.opens(grant.seal(one), grant.seal(one)), "who has seen the seal has not seen the grant"


@given(st.text())
def test_nothing_opens_what_was_never_sealed(text: str) -> None:
    assert not grant.opens(text, "")
