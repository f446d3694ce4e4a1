"""The tables in words: what a call or a struct looks like on the wire, one line each.

For documentation, and for a copy kept beside the tests in which every change of the wire shows up as a diff.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from culvert.protocol.procedure import Program, StreamDirection
from culvert.xdr import codec
from culvert.xdr.struct import Void, codec_of

_STREAMS = {
    StreamDirection.NONE: "",
    StreamDirection.READ: "R",
    StreamDirection.WRITE: "W",
    StreamDirection.BOTH: "RW",
}


def fields(kind: type[Any]) -> str:
    """``name:type, …`` of a struct, or ``—`` for none."""
    of_struct = codec_of(kind)
    if kind is Void or not isinstance(of_struct, codec.Fields):
        return "—"
    return ", ".join(f"{name}:{member}" for name, member in of_struct.members())


def structs(program: Program) -> Iterator[tuple[str, str]]:
    """(name, fields) of every struct that the program's rows hold inside others, inner ones first."""
    seen: dict[str, str] = {}
    for row in program:
        for kind in (row.args, row.ret):
            for _, member in _members(codec_of(kind)):
                _collect(member, seen)
    for message in program.messages.values():
        for _, member in _members(codec_of(message.body)):
            _collect(member, seen)
    yield from seen.items()


def lines(program: Program) -> Iterator[str]:
    """The whole program as text, rows by number."""
    yield f"program {program.name} 0x{program.number:08x} version {program.version}"
    for name, text in structs(program):
        yield f"struct {name} = {text}"
    for number in sorted(program.procedures):
        row = program.procedures[number]
        marks = [
            *([f"stream {_STREAMS[row.stream]}"] if row.stream is not StreamDirection.NONE else []),
            *(["before auth"] if row.before_auth else []),
            *(["before open"] if row.before_open else []),
            *(["read-only"] if row.read_only else []),
            *([f"acl {row.acl}"] if row.acl else []),
            *([f"acl filter {row.acl_filter}"] if row.acl_filter else []),
            *(["passes a descriptor"] if row.passes else []),
        ]
        tail = f"  [{', '.join(marks)}]" if marks else ""
        yield f"{number:3} {row.name} ({fields(row.args)}) → ({fields(row.ret)}){tail}"
    for number in sorted(program.messages):
        message = program.messages[number]
        yield f"{number:3} {message.name} message ({fields(message.body)})"


def _members(found: codec.Codec) -> list[tuple[str, codec.Codec]]:
    return found.members() if isinstance(found, codec.Fields) else []


def _collect(found: codec.Codec, seen: dict[str, str]) -> None:
    while isinstance(found, codec.Array | codec.Optional):
        found = found.element
    if isinstance(found, codec.Fields) and str(found) not in seen:
        for _, member in found.members():
            _collect(member, seen)
        seen[str(found)] = ", ".join(f"{name}:{member}" for name, member in found.members())
