"""How single values are spelled in domain XML: each scalar reads text into a value and writes it back.

A scalar that meets a word it does not know cannot tell a mistake from something only libvirt supports; it
refuses the word as unsupported and lists what it knows. Text that is no number where one is due is malformed.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any, Protocol

from culvert.ground import errors


class Scalar(Protocol):
    """Reads and writes one kind of value."""

    def read(self, text: str, where: str) -> Any:
        """The value of ``text``; ``where`` (a path) goes into the error. Raises ``errors.RequestError``."""

    def write(self, value: Any) -> str:
        """The text of ``value``."""

    def describe(self) -> str:
        """The values it takes, for people."""


@dataclass(frozen=True, slots=True)
class Text:
    """Any text; empty only where ``empty`` says so."""

    empty: bool = False

    def read(self, text: str, where: str) -> str:
        if not text and not self.empty:
            raise errors.XMLError(f"XML error: {where} is empty")
        return text

    def write(self, value: str) -> str:
        return value

    def describe(self) -> str:
        return "text"


# Forms of a number's digits, and the base in which each is read.
DECIMAL = ((r"[0-9]{1,20}", 10),)
ANY_BASE = ((r"0[xX][0-9a-fA-F]{1,16}", 16), (r"0[0-7]{0,22}", 8), (r"[1-9][0-9]{0,19}", 10))


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number from ``low`` to ``high``, white space before it or not.

    Decimal; where ``any_base``, also hexadecimal with ``0x`` and octal with ``0`` before it, as libvirt reads
    addresses (its virXMLPropUInt is told which). ``width`` > 0 writes it in hexadecimal with so many digits, and
    reads it in any base. ``refusal``: how a number out of these bounds is refused, with what comes before the text.
    """

    low: int = 0
    high: int = 2**64 - 1
    width: int = 0
    refusal: type[errors.RequestError] = errors.XMLError
    any_base: bool = False

    def read(self, text: str, where: str) -> int:
        form, base = next(
            ((form, base) for form, base in self._forms() if re.fullmatch(rf"\s*[+-]?{form}", text)), (None, 10)
        )
        if form is None:
            raise errors.XMLError(f"XML error: {where}: '{text}' is not a whole number")
        value = int(text, base)
        if not self.low <= value <= self.high:
            raise self.refusal(
                f"{errors.PREFIXES[self.refusal.code]}: {where}: {value} is not between {self.low} and {self.high}"
            )
        return value

    def _forms(self) -> tuple[tuple[str, int], ...]:
        return ANY_BASE if self.any_base or self.width else DECIMAL

    def write(self, value: int) -> str:
        return f"0x{value:0{self.width}x}" if self.width else str(value)

    def describe(self) -> str:
        return "number"


@dataclass(frozen=True, slots=True)
class WordScalar:
    """One word of a fixed set."""

    words: tuple[str, ...]

    def read(self, text: str, where: str) -> str:
        if text not in self.words:
            raise errors.ConfigUnsupported(
                f"unsupported configuration: {where}: '{text}' is not supported by culvert"
                f" (supported: {', '.join(self.words)})"
            )
        return text

    def write(self, value: str) -> str:
        return value

    def describe(self) -> str:
        return " | ".join(self.words)


@dataclass(frozen=True, slots=True)
class Switch:
    """A truth value in one of libvirt's two spellings (virTristateSwitch, virTristateBool); ``loose``: whatever is
    not the word for true is false.
    """

    true: str
    false: str
    loose: bool = False

    def read(self, text: str, where: str) -> bool:
        if text not in (self.true, self.false) and not self.loose:
            raise errors.XMLError(f"XML error: {where}: '{text}' is neither '{self.true}' nor '{self.false}'")
        return text == self.true

    def write(self, value: bool) -> str:
        return self.true if value else self.false

    def describe(self) -> str:
        return f"{self.true} | {self.false}"


@dataclass(frozen=True, slots=True)
class Pattern:
    """Text of a certain form, brought to lower case when ``lower``; ``refusal``: how another one is refused."""

    form: str
    name: str
    lower: bool = False
    refusal: type[errors.RequestError] = errors.XMLError

    def read(self, text: str, where: str) -> str:
        if not re.fullmatch(self.form, text):
            raise self.refusal(f"{errors.PREFIXES[self.refusal.code]}: {where}: '{text}' is not a {self.name}")
        return text.lower() if self.lower else text

    def write(self, value: str) -> str:
        return value

    def describe(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Uuid:
    """A UUID in any spelling, kept in the one with dashes and small letters."""

    def read(self, text: str, where: str) -> str:
        digits = re.sub(r"[\s-]", "", text)
        if not re.fullmatch(r"[0-9a-fA-F]{32}", digits):
            raise errors.XMLError(f"XML error: {where}: '{text}' is not a UUID")
        return str(uuid.UUID(digits))

    def write(self, value: str) -> str:
        return value

    def describe(self) -> str:
        return "UUID"


@dataclass(frozen=True, slots=True)
class OptionalUuid(Uuid):
    """A UUID, or nothing: one is to be made."""

    def read(self, text: str, where: str) -> str:
        return Uuid.read(self, text, where) if text.strip() else ""


@dataclass(frozen=True, slots=True)
class CpuSet:
    """Numbers of the host's processors or nodes: ``0-3,^2,8`` (virBitmapParse); none where ``empty`` says so."""

    empty: bool = False

    def read(self, text: str, where: str) -> frozenset[int]:
        if self.empty and not text.strip():
            return frozenset()
        found: set[int] = set()
        for part in text.split(","):
            told = re.fullmatch(r"\s*(\^)?([0-9]{1,5})(?:-([0-9]{1,5}))?\s*", part)
            first, last = (int(told[2]), int(told[3] or told[2])) if told else (1, 0)
            if told is None or first > last or last >= MOST_CPUS or (told[1] and told[3]):
                raise errors.InvalidArgument(f"invalid argument: {where}: '{text}' is no set of numbers")
            numbers = range(first, last + 1)
            found = found - set(numbers) if told[1] else found | set(numbers)
        if not found:
            raise errors.InvalidArgument(f"invalid argument: {where}: '{text}' has nothing in it")
        return frozenset(found)

    def write(self, value: frozenset[int]) -> str:
        runs: list[list[int]] = []
        for number in sorted(value):
            if runs and runs[-1][1] == number - 1:
                runs[-1][1] = number
            else:
                runs.append([number, number])
        return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)

    def describe(self) -> str:
        return "set of numbers (0-3,^2)"


def one_of(*words: str) -> WordScalar:
    """One word of ``words``."""
    return WordScalar(words)


TEXT = Text()
ANY_TEXT = Text(empty=True)
UINT = Integer(high=2**32 - 1)
ULONG = Integer()
ON_OFF = Switch("on", "off")
YES_NO = Switch("yes", "no")
YES_OR_NOT = Switch("yes", "no", loose=True)
UUID = Uuid()
MOST_CPUS = 16384  # libvirt's VIR_DOMAIN_CPUMASK_LEN
CPU_SET = CpuSet()
NO_CPU_SET = CpuSet(empty=True)
MAC = Pattern(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", "MAC address", lower=True)
PATH = Pattern(r"/[^\0\n]*", "absolute path")
NAME = Pattern(r"[^/\n\0]*[^/\s\0][^/\n\0]*", "name (no slash, no newline, not blank)")
# A word that goes into a QEMU option unquoted: model names, machine types, feature names.
TOKEN = Pattern(r"[A-Za-z0-9_.+:@-]+", "word of letters, digits and _.+:@-")
