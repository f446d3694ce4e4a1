"""The programs culvert speaks, and which of them a row belongs to.

A row knows its number, not its program; it is found by identity, so a row of a table that is not in use here is
refused before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from culvert.protocol import culvert, qemu, remote
from culvert.protocol.procedure import Message, Procedure, Program

KNOWN: tuple[Program, ...] = (remote.PROGRAM, qemu.PROGRAM, culvert.PROGRAM)


class Index:
    """Finds programs by their rows, and by the numbers in packets."""

    def __init__(self, programs: Iterable[Program]) -> None:
        self.programs = tuple(programs)
        self._by_number = {(program.number, program.version): program for program in self.programs}
        self._by_row: dict[int, Program] = {}
        for program in self.programs:
            for row in (*program.procedures.values(), *program.messages.values()):
                self._by_row[id(row)] = program

    def of(self, row: Procedure[Any, Any] | Message[Any]) -> Program:
        """The program ``row`` belongs to. Raises ``LookupError`` for a row of no program in use."""
        program = self._by_row.get(id(row))
        if program is None:
            names = ", ".join(known.name for known in self.programs)
            raise LookupError(f"{row.name} is not a row of {names}")
        return program

    def get(self, number: int, version: int) -> Program | None:
        """The program with those numbers, if it is in use."""
        return self._by_number.get((number, version))
