"""The secret that opens a prepared migration, and the tokens made of it; pure but for the drawing of secrets.

A destination hands out one *ticket* with a prepared migration. Who attaches data shows a *token*: the ticket's name,
what is to be opened, which attempt at it this is, and an HMAC over all of that (RFC 2104) under the ticket's secret.
So each token is good for one thing and once: the secret itself never travels a second time, a token that has been
seen is worth nothing, and an answer that was lost costs nothing, since the next attempt has a token of its own.

::

    ticket   NAME.SECRET                          in the URI that prepare answers
    token    NAME.KIND.NAME.ATTEMPT.MAC           in the call that attaches
             NAME.NUMBER.ATTEMPT.MAC              the same of wire 1
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from culvert.ground import errors

WITHOUT_POSTCOPY = "culvert-without-postcopy"  # of the same URI: why it was prepared without
TICKET_PARAMETER = "culvert-migration"  # of the URI that a destination hands out
_ATTEMPTS_MAX = 2**32


@dataclass(frozen=True, slots=True)
class Ticket:
    """``name`` is public, ``secret`` is not; both are plain words."""

    name: str
    secret: str

    @classmethod
    def draw(cls) -> Ticket:
        """A new one that nobody can guess."""
        return cls(secrets.token_hex(8), secrets.token_hex(32))

    @classmethod
    def parse(cls, text: str) -> Ticket:
        """The ticket in a URI's parameter. Raises ``errors.InvalidArgument``."""
        name, _, secret = text.partition(".")
        if not name or not secret:
            raise errors.InvalidArgument("the destination's migration URI has no ticket in it that could be read")
        return cls(name, secret)

    def __str__(self) -> str:
        return f"{self.name}.{self.secret}"

    def token(self, opens: str, attempt: int) -> str:
        """What opens a channel at the ``attempt``-th try; every try needs a higher one. ``opens``: of ``opening``,
        or of ``opening_number`` for wire 1."""
        return f"{self.name}.{opens}.{attempt}.{self._mac(opens, attempt)}"

    def _mac(self, opens: str, attempt: int) -> str:
        text = f"{self.name}.{opens}.{attempt}"
        return hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()

    def matches(self, token: Token) -> bool:
        """Whether ``token`` was made with this ticket's secret; takes the same time whatever is wrong."""
        return hmac.compare_digest(self._mac(token.opens, token.attempt), token.mac)


def hidden(text: str) -> str:
    """``text``, a URI or what holds one, without the ticket in it."""
    return re.sub(rf"({re.escape(TICKET_PARAMETER)}=)[^&\s'\"]*", r"\1…", text)


def opening(kind: str, name: str) -> str:
    """What a token says that opens the channel of that kind and name."""
    return f"{kind}.{name}"


def opening_number(number: int) -> str:
    """The same of wire 1, where a channel is a number."""
    return str(number)


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it was received: nothing in it is to be believed before ``Gate.admit``."""

    name: str
    opens: str
    attempt: int
    mac: str

    @classmethod
    def parse(cls, text: str) -> Token:
        """Raises ``errors.AuthenticationFailed`` for what is no token."""
        name, *opens, count, mac = text.split(".") if text.count(".") in (3, 4) else ("", "", "")
        if text.isascii() and count.isdecimal() and (attempt := int(count[:12])) < _ATTEMPTS_MAX:
            return cls(name, ".".join(opens), attempt, mac)
        raise refused()

    @property
    def numbered(self) -> bool:
        """Whether it is of wire 1."""
        return "." not in self.opens


def refused() -> errors.AuthenticationFailed:
    """For a token that opens nothing here; it does not say what is wrong with it."""
    return errors.AuthenticationFailed("this token does not open a migration that is prepared here")


@dataclass(slots=True)
class Gate:
    """One prepared migration's door.

    ``holder`` is who alone may come through (empty: whoever may migrate to here); ``closes`` is when, on the caller's
    clock, a channel can no longer be opened for the first time; opening one again is possible as long as the
    migration is. Its source speaks one wire: the two forms of token would count the attempts at a channel apart.
    """

    ticket: Ticket
    holder: str
    closes: float
    _attempts: dict[str, int] = field(default_factory=dict)
    _numbered: bool | None = None

    def admit(self, token: Token, who: str, now: float) -> None:
        """Let the bearer in, once.

        Raises ``errors.AuthenticationFailed`` saying why not; then nothing has changed.
        """
        if not self.ticket.matches(token):
            raise refused()
        if self.holder and who != self.holder:
            raise errors.AuthenticationFailed(f"this token was given to '{self.holder}', not to '{who}'")
        if self._numbered not in (None, token.numbered):
            raise errors.AuthenticationFailed(
                "this token is of another wire than those that have opened the migration"
            )
        last = self._attempts.get(token.opens, 0)
        if token.attempt <= last:
            raise errors.AuthenticationFailed("this token has been used already")
        if not last and now > self.closes:
            raise errors.AuthenticationFailed("this token has expired: the migration was prepared too long ago")
        self._attempts[token.opens] = token.attempt
        self._numbered = token.numbered
