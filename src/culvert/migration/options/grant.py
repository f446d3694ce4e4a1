"""The grant: what lets a destination start one attempt's CPUs, and no other's; pure.

The source makes a secret for each attempt. When the destination prepares it is shown only the secret's *seal*, its
SHA-256. The secret itself leaves the source with FINISH3, after the step that says so is in its journal. Whoever has
an older attempt's secret, or only the cookies of begin and prepare, opens nothing.

::

    begin, prepare   <culvert attempt='A' seal='SHA-256 of G'/>     source → destination
    perform, finish  <culvert attempt='A' grant='G'/>               source → destination
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

BYTES = 32


def make() -> str:
    """A grant for a new attempt, as hexadecimal digits."""
    return secrets.token_hex(BYTES)


def seal(grant: str) -> str:
    """What the destination is shown beforehand."""
    return hashlib.sha256(grant.encode(errors="surrogateescape")).hexdigest()


def opens(grant: str, sealed: str) -> bool:
    """Whether ``grant`` is the one that ``sealed`` was made of."""
    return bool(sealed) and hmac.compare_digest(seal(grant), sealed)


def is_seal(shown: str, sealed: str) -> bool:
    """Whether ``shown`` is the seal ``sealed``; takes the same time whatever is wrong."""
    return bool(sealed) and hmac.compare_digest(shown.encode(errors="surrogateescape"), sealed.encode())
