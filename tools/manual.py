"""Writes the parts of the manual that are tables in the code: ``python -m tools.manual``.

``docs/wire.md`` (procedures, structs, limits), ``docs/xml.md`` (domain XML), ``docs/cli.md`` (help texts),
``docs/machine.md`` (the migration machines), ``docs/hazards.md`` (versions that do not go well together). A
test compares what is here with what is in ``docs/``, so that the manual cannot fall behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import click

from culvert.cli.main import cli
from culvert.daemon.main import main as culvertd
from culvert.daemon.server import handlers
from culvert.daemon.service import Service
from culvert.domain import xml
from culvert.domain.binding import supported
from culvert.domain.definition import DomainDef
from culvert.ground.units import GiB, KiB, MiB
from culvert.migration.handover import machine_destination as destination
from culvert.migration.handover import machine_recovery as recovery
from culvert.migration.handover import machine_source as source
from culvert.migration.options import hazards
from culvert.protocol import errors as wire_errors
from culvert.protocol import layout, types
from culvert.protocol.procedure import Procedure, Program, StreamDirection
from culvert.rpc import stream
from culvert.rpc.dispatch import Handlers
from culvert.rpc.limits import WRITE_HIGH, RpcLimits
from culvert.wire import packet
from tools import handover

DOCS = Path(__file__).resolve().parents[1] / "docs"
WRITTEN = "<!-- Written by `make manual` from the tables in the code: change those, not this file. -->"
STREAMS = {
    StreamDirection.NONE: "",
    StreamDirection.READ: "to the client",
    StreamDirection.WRITE: "to the daemon",
    StreamDirection.BOTH: "both ways",
}


def table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """A table in Markdown."""
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def size(count: float) -> str:
    """Bytes for people: exact."""
    for unit, name in ((GiB, "GiB"), (MiB, "MiB"), (KiB, "KiB")):
        if count >= unit and count % unit == 0:
            return f"{count / unit:.0f} {name}"
    return f"{count:,.0f} bytes"


# ---- the wire -----------------------------------------------------------------------------------------------------


def wire() -> Iterator[str]:
    """docs/wire.md."""
    yield from (
        *("# The wire", "", WRITTEN, ""),
        "libvirt's RPC (docs/kbase/internals/rpc.rst and src/rpc/virnetprotocol.x of libvirt): packets of a length",
        "word, a header of 24 bytes and an XDR payload. One of libvirt's 456 procedures (12.9) that is not served is",
        "answered `this function is not supported by the connection driver`, with the function's name, and a number",
        f"that nobody has with a text that begins `{wire_errors.UNKNOWN_PROCEDURE}`. The connection lives on.",
        "",
    )
    for each in handlers(cast(Service, None)):
        yield from _program(each)
    yield from (
        "## Limits",
        "",
        "What one peer may take. Beyond it there is an error or the end of the connection.",
        "",
    )
    yield from table(["what", "how much"], LIMITS)


def _program(served: Handlers) -> Iterator[str]:
    program = served.program
    rows = sorted(served, key=lambda row: row.number)
    others = sorted(set(program.procedures) - {row.number for row in rows})
    yield from (f"## Program {program.name}: 0x{program.number:08x}, version {program.version}", "")
    yield from (f"### Served: {len(rows)} procedures", "")
    yield from table(["number", "procedure", "arguments", "result", "stream", "allowed"], [_row(row) for row in rows])
    if others:
        yield from (f"### Declared and answered `{wire_errors.UNKNOWN_PROCEDURE}`: {len(others)}", "")
        yield ", ".join(f"`{program.procedures[number].name}` ({number})" for number in others)
        yield ""
    if program.messages:
        yield from ("### Messages", "")
        messages = sorted(program.messages.values(), key=lambda message: message.number)
        yield from table(
            ["number", "message", "body"],
            [[str(message.number), f"`{message.name}`", layout.fields(message.body)] for message in messages],
        )
    yield from _structs(program)


def _row(row: Procedure[Any, Any]) -> list[str]:
    allowed = [
        *(["before authentication"] if row.before_auth else []),
        *(["before open"] if row.before_open else []),
        *([] if row.read_only else ["not read-only"]),
    ]
    return [
        *(str(row.number), f"`{row.name}`", layout.fields(row.args), layout.fields(row.ret)),
        *(STREAMS[row.stream], ", ".join(allowed)),
    ]


def _structs(program: Program) -> Iterator[str]:
    structs = list(layout.structs(program))
    if structs:
        yield from ("### Structs inside others", "")
        yield from table(["struct", "members"], [[f"`{name}`", text] for name, text in structs])


_DEFAULTS = RpcLimits()
LIMITS = [
    ["a packet, without its length word", f"{size(packet.PACKET_MAX - packet.LENGTH.size)} (`max_packet`)"],
    ["a packet of a client that has not been answered yet", size(_DEFAULTS.anonymous_packet)],
    ["a string", size(types.STRING_MAX)],
    ["a migration cookie", size(types.COOKIE_MAX)],
    ["parameters of a migration call", str(types.MIGRATE_PARAM_LIST_MAX)],
    ["domains in a list", f"{types.DOMAIN_LIST_MAX:,}"],
    ["file descriptors passed with a call", f"{packet.DESCRIPTORS_MAX}; none is used"],
    ["text of an error", f"{wire_errors.MESSAGE_MAX:,} characters"],
    ["connections", f"{_DEFAULTS.clients:,} (`max_clients`)"],
    [
        "connections by one transport that have not asked anything yet",
        f"{_DEFAULTS.anonymous} (`max_anonymous_clients`), {_DEFAULTS.greeting:g} s each",
    ],
    [
        "calls of a connection being served",
        f"{_DEFAULTS.calls_in_flight} (`max_client_requests`); then it is not read",
    ],
    ["streams open on a connection", str(_DEFAULTS.streams)],
    ["payload of a stream packet sent", size(stream.CHUNK)],
    ["received bytes of a stream that wait for its consumer", f"{size(_DEFAULTS.stream_queue)}; then it is not read"],
    ["the same for all streams of a connection", size(_DEFAULTS.connection_queue)],
    ["bytes that wait for a slow socket before producers wait", size(WRITE_HIGH)],
    ["events that wait for a client that does not read", f"{size(_DEFAULTS.event_backlog)}; then it is disconnected"],
    ["domain XML: bytes, elements", f"{size(xml.MAX_BYTES)}, {xml.MAX_ELEMENTS:,}"],
    ["domain XML: depth, attributes of an element", f"{xml.MAX_DEPTH}, {xml.MAX_ATTRIBUTES}"],
]

# ---- domain XML ---------------------------------------------------------------------------------------------------


def domain_xml() -> Iterator[str]:
    """docs/xml.md."""
    yield from (
        *("# Domain XML", "", WRITTEN, ""),
        "What culvert understands of libvirt's domain XML (libvirt's docs/formatdomain). Everything else is refused",
        "by its path; nothing is dropped silently. What is left out gets libvirt's own defaults. Below `metadata`",
        "anything may stand: it is kept as it is.",
        "",
    )
    sections: dict[str, dict[str, str]] = {}
    for path, values in supported(DomainDef, "/domain"):
        section = sections.setdefault(_section(path), {})
        section[path] = values or section.get(path, "")  # an element with a text of its own is told twice
    for name, paths in sections.items():
        yield from (f"## {name}", "")
        yield from table(["path", "values"], [[f"`{path}`", values] for path, values in paths.items()])


def _section(path: str) -> str:
    """The part of the document a path is in: a device, an element with children, or the rest."""
    parts = path.replace("[", "/[").split("/")[2:]
    if parts[0] == "devices":
        return "devices" if len(parts) == 1 else f"devices: {parts[1]}"
    return parts[0] if parts[0] in _NESTED else "domain"


_NESTED = {
    path.split("/")[2].split("[")[0] for path, _ in supported(DomainDef, "/domain") if len(path.split("/")) > 3
}

# ---- the command lines --------------------------------------------------------------------------------------------


def command_lines() -> Iterator[str]:
    """docs/cli.md."""
    yield from ("# Command lines", "", WRITTEN, "")
    yield from _help(culvertd, "culvertd", None)
    yield from _help(cli, "culvert", None)


def _help(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    width = {"max_content_width": 100, "terminal_width": 100}
    settings = {**command.context_settings, **width}
    with click.Context(command, info_name=name, parent=parent, **settings) as context:
        yield from (f"## {context.command_path}", "", "```", *context.get_help().splitlines(), "```", "")
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                found = command.get_command(context, each)
                assert found is not None
                yield from _help(found, each, context)


# ---- the migration machines ---------------------------------------------------------------------------------------


def machine() -> Iterator[str]:
    """docs/machine.md."""
    yield from (
        *("# The migration machines", "", WRITTEN, ""),
        "What either side of a migration does, as the tables in `src/culvert/migration/handover/machine_*.py` have",
        "it; why it is so: [handover.md](handover.md). *or stop*: what stands behind it is done only when the step",
        "is on the disk, and the old state holds until then.",
        "",
    )
    sides = (
        ("The source", source.table(), source.START, source.FINAL),
        ("The destination", destination.table(), destination.START, destination.FINAL),
    )
    for name, rows, start, final in sides:
        yield from (f"## {name}", "")
        yield from handover.diagram(rows, start.state, final)
        yield from (f"It begins in `{start.state.value}`: {handover.commands(start)}.", "")
        yield from table(["state", "event", "next state", "what is done"], handover.rows_of(rows))
    yield from ("## Towards a libvirtd", "", "The source's table is the same but for:", "")
    yield from table(["state", "event", "next state", "what is done"], handover.stock())
    yield from ("## After a restart", "")
    yield from table(
        ["direction", "last step in the journal", "QEMU", "state", "what is done"],
        [
            *handover.recovered("out", recovery.SOURCE, recovery.SOURCE_SAYS),
            *handover.recovered("in", recovery.DESTINATION, recovery.DESTINATION_SAYS),
        ],
    )
    yield from ("## What the peer's word does", "")
    yield from table(["the destination says", "`asking`", "`undecided`", "`postcopy_failed`"], handover.words())


# ---- hazards -------------------------------------------------------------------------------------------------------


def known_hazards() -> Iterator[str]:
    """docs/hazards.md."""
    yield from (
        *("# Known to go wrong between versions of QEMU", "", WRITTEN, ""),
        "From the table in `src/culvert/migration/options/hazards.py`. Nothing is refused for it. Whoever starts",
        "such a peer-to-peer migration finds it in the daemon's log and in the history, and behind the error if it",
        "fails; rows that are *here only* concern every such migration. `qemu tls` is QEMU's own encryption, which",
        "culvert does not use: its own is between the daemons.",
        "",
    )
    yield from table(
        ["from", "to", "with", "what happens", "known by", "told"],
        [
            [
                str(each.source),
                str(each.destination),
                ", ".join(f"`{word}`" for word in sorted(each.when)) or "anything",
                each.happens,
                f"{each.known_by} ({each.mark.value})",
                "yes" if each.told else "here only",
            ]
            for each in hazards.HAZARDS
        ],
    )


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "wire.md": wire,
    "xml.md": domain_xml,
    "cli.md": command_lines,
    "machine.md": machine,
    "hazards.md": known_hazards,
}


def page(name: str) -> str:
    """The text of ``docs/NAME`` as it should be."""
    return "\n".join(line.rstrip() for line in PAGES[name]()).rstrip() + "\n"


if __name__ == "__main__":
    for each in PAGES:
        (DOCS / each).write_text(page(each), encoding="utf-8")
