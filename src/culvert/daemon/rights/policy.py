"""The policy: which clients may do what with which guests. A TOML file of rules, each of which only ever allows::

    [[allow]]
    who = ["user:alice", "group:operators", "certificate:C=GB,O=Example,CN=ops*"]
    may = ["domain.*", "connect.*"]

    [[allow]]
    who = ["certificate:tenant.example.org"]
    may = ["domain.read", "domain.start", "domain.stop", "domain.migrate"]
    guests = ["web-*"]                  # by name; all where neither is given
    tags = ["tenant=blue"]              # by the words of <tags xmlns="urn:culvert:tags"> in the guest's metadata

Pure; ``who`` says what a session is called by, ``permit`` what a call demands.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from culvert.ground import errors

DOMAIN = "domain."
KINDS = ("user", "group", "uid", "certificate", "sasl", "way")
"""What stands before the colon of a name: a user or group of this host, a number, a certificate's distinguished or
alternative name, a name that SASL has proved, and the listener: ``way:unix``, ``way:unix-ro``, ``way:tls``,
``way:tcp``."""

ANONYMOUS = frozenset(
    {
        *("connect.getattr", "connect.read"),
        *(
            f"connect.search_{each}"
            for each in (
                *("domains", "networks", "storage_pools", "node_devices", "interfaces", "secrets", "nwfilters"),
                "nwfilter_bindings",
            )
        ),
    }
)
"""What everybody may who is let in: to open the connection and to ask for lists, in which there is what he may see.
libvirt lets anybody do the same (access/viraccessperm.h, ``@anonymous``); there anybody may see every guest, too."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule can know a guest by."""

    name: str
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Allow:
    """One ``[[allow]]``. ``*`` and ``?`` stand for any characters and for one, in every word."""

    who: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    guests: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def speaks_of(self, identities: Iterable[str]) -> bool:
        """Whether it is about a client of these names."""
        return any(_matches(name, self.who) for name in identities)

    def allows(self, word: str, guest: Subject | None) -> bool:
        """Whether it allows what ``word`` names, to ``guest``; without one, to some guest at least.

        A rule for certain guests allows nothing else: neither a pool nor another's guest.
        """
        if not _matches(word, self.may):
            return False
        if not (self.guests or self.tags):
            return True
        if not word.startswith(DOMAIN):
            return False
        if guest is None:
            return True
        named = not self.guests or _matches(guest.name, self.guests)
        return named and (not self.tags or any(_matches(tag, self.tags) for tag in guest.tags))


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules; what none allows is refused."""

    rules: tuple[Allow, ...]

    def of(self, identities: Iterable[str]) -> Policy:
        """The rules about a client of these names."""
        names = tuple(identities)
        return Policy(tuple(rule for rule in self.rules if rule.speaks_of(names)))

    def allows(self, word: str, guest: Subject | None = None) -> bool:
        """Whether a rule allows it, as ``Allow.allows``. Who has no rule at all may not even open the connection."""
        if word in ANONYMOUS:
            return bool(self.rules)
        return any(rule.allows(word, guest) for rule in self.rules)


def load(path: Path) -> Policy:
    """The one in that file. Raises ``errors.InvalidArgument`` where it cannot be read, and as ``parse``."""
    try:
        return parse(path.read_text("utf-8"), f"policy {path}")
    except (OSError, UnicodeDecodeError) as err:
        raise errors.InvalidArgument(f"policy {path} cannot be read: {err}") from err


def parse(text: str, where: str) -> Policy:
    """Read it; ``where`` names it in messages.

    Raises ``errors.InvalidArgument`` for what is no TOML, another table, key or type, a kind of name that is not in
    ``KINDS``, and a rule that allows nothing or nobody: a slip of the pen must not look like a rule.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise errors.InvalidArgument(f"{where}: it is not TOML: {err}") from err
    rules = tables.pop("allow", [])
    if tables or not isinstance(rules, list):
        raise errors.InvalidArgument(f"{where}: there is nothing in a policy but [[allow]]{_listed(tables)}")
    return Policy(tuple(_rule(rule, f"{where}, rule {number}") for number, rule in enumerate(rules, 1)))


def _rule(table: Any, where: str) -> Allow:
    known = [each.name for each in fields(Allow)]
    if not isinstance(table, dict) or set(table) - set(known):
        raise errors.InvalidArgument(f"{where}: a rule has {', '.join(known)}{_listed(table)}")
    for key, value in table.items():
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            raise errors.InvalidArgument(f"{where}: {key} is a list of words")
        if not value:
            raise errors.InvalidArgument(f"{where}: {key} is empty, and would stand for all: leave it out for that")
    for name in table.get("who", []):
        if name.partition(":")[0] not in KINDS or ":" not in name:
            raise errors.InvalidArgument(f"{where}: '{name}' is not one of {':…, '.join(KINDS)}:…")
    if not table.get("who") or not table.get("may"):
        raise errors.InvalidArgument(f"{where}: who and may are needed")
    for word in table["may"]:
        if "." not in word and word != "*":
            raise errors.InvalidArgument(f"{where}: '{word}' is not OBJECT.PERMISSION, as domain.migrate is")
    words = {key: tuple(value) for key, value in table.items()}
    # polkit's actions spell the same words with dashes: org.libvirt.api.domain.read-secure.
    words["may"] = tuple(word.removeprefix("org.libvirt.api.").replace("-", "_") for word in words["may"])
    return Allow(**words)


def _listed(table: Any) -> str:
    return f", not '{sorted(table)[0]}'" if isinstance(table, dict) and table else ""


def _matches(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text, pattern.replace("[", "[[]")) for pattern in patterns)
