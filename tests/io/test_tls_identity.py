"""Names of peers: how they are written, and what lists of patterns let in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.io.tls_identity import Identity, allowed

CERTIFICATE = {
    "subject": ((("countryName", "GB"),), (("organizationName", "Example"),), (("commonName", "alpha"),)),
    "subjectAltName": (("DNS", "alpha.example"), ("IP Address", "10.0.0.1"), ("DirName", ((("x", "y"),),))),
}
ALPHA = Identity("C=GB,O=Example,CN=alpha", ("alpha.example", "10.0.0.1"))


def test_from_a_certificate() -> None:
    assert Identity.of(CERTIFICATE) == ALPHA
    assert str(ALPHA) == "C=GB,O=Example,CN=alpha (alpha.example, 10.0.0.1)"


@pytest.mark.parametrize("certificate", [None, {}])
def test_nothing_verified_is_nobody(certificate: dict[str, object] | None) -> None:
    assert Identity.of(certificate) is None


@pytest.mark.parametrize(
    "pattern",
    ["C=GB,O=Example,CN=alpha", "*,CN=alpha", "*", "C=GB,O=Example,*", "CN=*alpha*", "Alpha.example", "10.0.0.?"],
)
def test_matches(pattern: str) -> None:
    assert ALPHA.matches([pattern]) is (pattern != "CN=*alpha*")


@pytest.mark.parametrize(
    "pattern", ["", "CN=alpha", "c=gb,*", "alpha", "alpha.examples", "10.0.0.", "[C]*", "C=GB.*"]
)
def test_does_not_match(pattern: str) -> None:
    assert not ALPHA.matches([pattern])


def test_a_value_cannot_look_like_another_attribute() -> None:
    name = Identity.of({"subject": ((("commonName", "x,CN=admin"),),)})
    assert name is not None
    assert name.name == "CN=x\\2CCN\\3Dadmin"
    assert not name.matches(["*,CN=admin"])


def test_lists() -> None:
    assert allowed(ALPHA, [])
    assert allowed(None, [])
    assert allowed(ALPHA, ["nobody", "alpha.example"])
    assert not allowed(None, ["*"])
    assert not allowed(ALPHA, ["nobody"])


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_pattern_without_wildcards_is_that_name_alone(name: str, pattern: str) -> None:
    if not set("*?") & set(pattern):
        assert Identity(name).matches([pattern]) is (name == pattern)
