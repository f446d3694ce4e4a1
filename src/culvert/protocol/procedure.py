"""A row of a procedure table: what the codec, the dispatcher, the client and the tests need to know of a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType, ModuleType
from typing import Any, Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")


WRITE = (
    "domain:write domain:save:!VIR_DOMAIN_AFFECT_CONFIG|VIR_DOMAIN_AFFECT_LIVE domain:save:VIR_DOMAIN_AFFECT_CONFIG"
)
"""The ``@acl`` of whatever changes a guest as it runs, as it is kept, or both."""


class StreamDirection(Enum):
    """Which way a procedure's stream carries bytes, seen from the client."""

    NONE = "none"
    READ = "read"  # server → client (VIR_STREAM: @readstream)
    WRITE = "write"  # client → server (@writestream)
    BOTH = "both"  # OPEN_CONSOLE, OPEN_CHANNEL: declared @readstream, used both ways


class Wait(Enum):
    """How long a caller waits for the reply, in seconds; the one place deadlines of calls come from."""

    SHORT = 30.0  # answered from memory
    NORMAL = 120.0  # starts or stops a process
    LONG = 86400.0  # a migration's perform step: ends by its own deadlines


@dataclass(frozen=True, slots=True)
class Procedure(Generic[A, R]):
    """One call of a program.

    ``number`` and ``name`` are the protocol file's; ``args`` and ``ret`` are XDR structs (``Void`` for none);
    ``before_auth``: legal before authentication; ``before_open``: legal before CONNECT_OPEN; ``passes``: a good
    answer passes a file descriptor, so a UNIX socket is needed.

    ``acl`` and ``acl_filter`` are libvirt's ``@acl`` and ``@aclfilter`` of that procedure in its own spelling,
    several with a space between (``access.demands``): what one must be allowed to call it, and to see what it lists.
    ``read_only``: also allowed on a read-only connection, as the function of ``libvirt-*.c`` allows it.
    """

    number: int
    name: str
    args: type[A]
    ret: type[R]
    stream: StreamDirection = StreamDirection.NONE
    wait: Wait = Wait.SHORT
    before_auth: bool = False
    before_open: bool = False
    passes: bool = False
    acl: str = ""
    acl_filter: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Message(Generic[A]):
    """An unasked message of a program (an event)."""

    number: int
    name: str
    body: type[A]


class Program:
    """A numbered set of procedures and messages. Raises ``ValueError`` when two rows claim one number.

    ``others``: names of procedures that have no row here, by their numbers. ``function``: what clients call the
    procedure of a name, where they call it otherwise.
    """

    def __init__(
        self,
        name: str,
        number: int,
        version: int,
        procedures: Iterable[Procedure[Any, Any]],
        messages: Iterable[Message[Any]] = (),
        *,
        others: Mapping[int, str] = MappingProxyType({}),
        function: Callable[[str], str] | None = None,
    ) -> None:
        self.name = name
        self.number = number
        self.version = version
        self.procedures: dict[int, Procedure[Any, Any]] = {}
        self.messages: dict[int, Message[Any]] = {}
        self.function = function
        self._others = others
        for row in procedures:
            if row.number in self.procedures:
                raise ValueError(f"{name}: procedure {row.number} is declared twice")
            self.procedures[row.number] = row
        for message in messages:
            if message.number in self.messages or message.number in self.procedures:
                raise ValueError(f"{name}: message {message.number} is declared twice")
            self.messages[message.number] = message

    @classmethod
    def of_modules(
        cls,
        name: str,
        number: int,
        version: int,
        *modules: ModuleType,
        others: Mapping[int, str] = MappingProxyType({}),
        function: Callable[[str], str] | None = None,
    ) -> Program:
        """The program whose rows are those of ``modules``, in their order.

        Raises ``ValueError`` when a row's name in its module is not the name in the row.
        """
        procedures: list[Procedure[Any, Any]] = []
        messages: list[Message[Any]] = []
        for module in modules:
            for key, row in vars(module).items():
                if isinstance(row, Procedure):
                    procedures.append(row)
                elif isinstance(row, Message):
                    messages.append(row)
                else:
                    continue
                if key != row.name:
                    raise ValueError(f"{name}: {key} is declared as {row.name}")
        return cls(name, number, version, procedures, messages, others=others, function=function)

    def name_of(self, number: int) -> str:
        """The name of procedure ``number``, whether it has a row or not; empty for one that nobody knows."""
        row = self.procedures.get(number)
        return self._others.get(number, "") if row is None else row.name

    def __iter__(self) -> Iterator[Procedure[Any, Any]]:
        return iter(self.procedures.values())
