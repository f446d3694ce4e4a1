"""Who the other end of a TLS connection has proved to be, and the lists of names that are let in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The attribute types of RFC 4514 section 3, by the names OpenSSL gives them; any other goes by OpenSSL's own name.
_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
# Escaped as \XX and not with a bare backslash: a value that holds ",CN=admin" must not look like that attribute to a
# pattern that ends so (RFC 4514 section 2.4 allows both).
_SPECIAL = re.compile(r'[,+"\\<>;=\x00-\x1f\x7f]')


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified peer: ``name`` is its distinguished name, ``alternatives`` its subject alternative names.

    The name is in the certificate's own order, ``C=GB,O=Example,CN=host``, as libvirt's ``tls_allowed_dn_list`` has
    it; ``alternatives`` are bare values (host names, addresses, mail addresses, URIs).
    """

    name: str
    alternatives: tuple[str, ...] = ()

    @classmethod
    def of(cls, certificate: Mapping[str, Any] | None) -> Identity | None:
        """From ``ssl.SSLObject.getpeercert()``; None when there is no certificate, or none that was verified."""
        if not certificate:
            return None
        parts = [
            f"{_SHORT.get(kind, kind)}={_escaped(value)}"
            for relative in certificate.get("subject", ())
            for kind, value in relative
        ]
        alternatives = [value for _, value in certificate.get("subjectAltName", ()) if isinstance(value, str)]
        return cls(",".join(parts), tuple(alternatives))

    def matches(self, patterns: Iterable[str]) -> bool:
        """Whether the distinguished name, or one of the alternative names, matches one of ``patterns``.

        ``*`` stands for any characters and ``?`` for one. Alternative names are compared without regard to case.
        """
        return any(
            _glob(pattern).fullmatch(self.name)
            or any(_glob(pattern, re.IGNORECASE).fullmatch(name) for name in self.alternatives)
            for pattern in patterns
        )

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.alternatives)})" if self.alternatives else self.name


def allowed(identity: Identity | None, patterns: Sequence[str]) -> bool:
    """Whether ``patterns`` let ``identity`` in. An empty list lets in everybody, any other nobody without a name."""
    return not patterns or (identity is not None and identity.matches(patterns))


def _escaped(value: str) -> str:
    return _SPECIAL.sub(lambda found: f"\\{ord(found.group()):02X}", value)


def _glob(pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    words = {"*": ".*", "?": "."}
    return re.compile(
        "".join(words.get(character) or re.escape(character) for character in pattern), flags | re.DOTALL
    )
