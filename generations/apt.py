"""Where packages come from: the machine's own sources, and what they are for another suite. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_ONE_LINE = re.compile(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+\S", re.MULTILINE)
BACKPORTS = "-backports"


class NoMirror(Exception):
    """The machine's sources name no archive of Debian."""


@dataclass(frozen=True, slots=True)
class Source:
    """A suite that packages come from, and where it is."""

    uri: str
    suite: str


def read(texts: Iterable[str]) -> Iterator[Source]:
    """Every suite in files of sources.list(5), of one line or of stanzas (deb822)."""
    for text in texts:
        for uri, suite in _ONE_LINE.findall(text):
            yield Source(uri.rstrip("/"), suite)
        for stanza in re.split(r"\n\s*\n", text):
            fields = {
                name.lower(): value.split()
                for name, separator, value in (
                    line.partition(":") for line in stanza.splitlines() if not line.startswith("#")
                )
                if separator
            }
            if "deb" in fields.get("types", []) and "no" not in fields.get("enabled", []):
                yield from (
                    Source(uri.rstrip("/"), suite)
                    for uri in fields.get("uris", [])
                    for suite in fields.get("suites", [])
                )


@dataclass(frozen=True, slots=True)
class Mirrors:
    """The archive, and the one of security updates, '' where the machine has none."""

    main: str
    security: str


def mirrors(sources: Iterable[Source], codename: str) -> Mirrors:
    """Those of a machine of the release ``codename``. Raises ``NoMirror``."""
    found = list(sources)
    main = [each.uri for each in found if each.suite == codename]
    security = [each.uri for each in found if each.suite == f"{codename}-security"]
    if not main:
        raise NoMirror(f"no source of packages in /etc/apt is for '{codename}', so its mirror is not known")
    return Mirrors(main[0], (security or [""])[0])


def sources_list(of: Mirrors, suite: str, *, backports: bool) -> str:
    """``sources.list`` of a root of ``suite``."""
    lines = [f"deb {of.main} {suite} main"]
    if of.security and suite not in ("testing", "unstable"):
        lines.append(f"deb {of.security} {suite}-security main")
    if backports:
        lines.append(f"deb {of.main} {suite}{BACKPORTS} main")
    return "\n".join(lines) + "\n"


def preferences(suite: str) -> str:
    """A file of apt_preferences(5) by which whatever the suite's backports have comes from there."""
    return f"Package: *\nPin: release n={suite}{BACKPORTS}\nPin-Priority: 900\n"
