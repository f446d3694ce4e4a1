"""What a policy allows, and what is no policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.daemon.rights import policy
from culvert.daemon.rights.policy import ANONYMOUS, Allow, Policy, Subject
from culvert.ground import errors

TEXT = """
[[allow]]
who = ["group:operators", "certificate:C=GB,O=Example,CN=ops*"]
may = ["*"]

[[allow]]
who = ["user:tenant"]
may = ["domain.*", "org.libvirt.api.storage-pool.read"]
guests = ["web-*"]

[[allow]]
who = ["user:tenant"]
may = ["domain.read"]
tags = ["tenant=blue"]

[[allow]]
who = ["uid:65534"]
may = ["org.libvirt.api.domain.read-secure"]
"""
WEB, DB, BLUE = Subject("web-1"), Subject("db-1"), Subject("db-2", frozenset({"tenant=blue"}))


@pytest.mark.parametrize(
    ("name", "word", "guest", "allowed"),
    [
        ("group:operators", "storage_pool.delete", None, True),
        ("certificate:C=GB,O=Example,CN=ops7", "domain.stop", DB, True),
        ("certificate:C=GB,O=Example,CN=host", "domain.stop", DB, False),
        ("user:tenant", "domain.stop", WEB, True),
        ("user:tenant", "domain.stop", DB, False),
        ("user:tenant", "domain.stop", BLUE, False),
        ("user:tenant", "domain.read", BLUE, True),
        ("user:tenant", "domain.start", None, True),
        ("user:tenant", "storage_pool.read", None, False),
        ("user:tenant", "connect.search_domains", None, True),
        ("user:tenant", "connect.write", None, False),
        ("uid:65534", "domain.read_secure", DB, True),
        ("uid:65534", "domain.read", DB, False),
        ("user:nobody", "connect.getattr", None, False),
    ],
)
def test_who_may_what(name: str, word: str, guest: Subject | None, allowed: bool) -> None:
    rules = policy.parse(TEXT, "policy").of({name})
    assert rules.allows(word, guest) is allowed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("allow = 1", "nothing in a policy but"),
        ("[deny]\nwho = []", "not 'deny'"),
        ("[[allow]]\nwho = ['user:a']\nmay = ['domain.*']\nguest = ['g']", "not 'guest'"),
        ("[[allow]]\nwho = ['user:a']\nmay = 'domain.*'", "may is a list of words"),
        ("[[allow]]\nwho = ['user:a']\nmay = ['domain.*']\nguests = []", "guests is empty"),
        ("[[allow]]\nwho = ['alice']\nmay = ['domain.*']", "'alice' is not one of user:"),
        ("[[allow]]\nwho = ['user:a']", "who and may are needed"),
        ("[[allow]]\nwho = ['user:a']\nmay = ['migrate']", "'migrate' is not OBJECT.PERMISSION"),
        ("[[allow", "not TOML"),
    ],
)
def test_what_is_no_policy(text: str, said: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"policy.*{said}"):
        policy.parse(text, "policy")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument, match="cannot be read"):
        policy.load(tmp_path / "none.toml")


def test_without_a_rule_nothing_is_allowed() -> None:
    assert not any(policy.parse("", "policy").allows(word) for word in [*ANONYMOUS, "domain.getattr"])


NAMES = st.text("ab-*?[", min_size=1, max_size=5)


@given(NAMES, NAMES)
def test_a_rule_for_some_guests_never_allows_another(pattern: str, name: str) -> None:
    """Brackets mean nothing: a name with one in it must not open a class of characters."""
    allowed = Allow(("user:a",), ("*",), (pattern,)).allows("domain.stop", Subject(name))
    if not set(pattern) & set("*?"):
        assert allowed is (name == pattern)
    assert not Policy((Allow(("user:a",), ("*",), (pattern,)),)).allows("storage_pool.delete")
