"""Which host a migration URI names, in every spelling that managers have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground import errors
from culvert.migration.options import migration_uri

NAMED = [
    ("tcp://10.0.0.9", "10.0.0.9"),
    ("tcp://node9:49152", "node9"),
    ("tcp://[fe80::9]:49152", "fe80::9"),
    ("tcp:node9", "node9"),
    ("tcp:node9:49152", "node9"),
    ("tcp:[fe80::9]:49152", "fe80::9"),
]


@pytest.mark.parametrize(("text", "host"), NAMED)
def test_the_host(text: str, host: str) -> None:
    assert migration_uri.host(text) == host
    assert migration_uri.host(migration_uri.spelled(text)) == host
    assert migration_uri.spelled(text).startswith("tcp://")


@pytest.mark.parametrize(
    "text", ["", "tcp:", "tcp://", "node9", "rdma://node9", "tcp://[::", "tcp:h:port", "tcp:h:70000"]
)
def test_what_names_none(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="not of the form tcp://HOST"):
        migration_uri.host(text)


@given(st.text())
def test_any_text_is_a_host_or_is_refused(text: str) -> None:
    try:
        named = migration_uri.host(text)
    except errors.InvalidArgument:
        named = "refused"
    assert named
