"""``docs/machine.md``: the migration machines, drawn and printed from the tables that the daemon runs by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from culvert.migration.handover import machine_destination as destination
from culvert.migration.handover import machine_recovery as recovery
from culvert.migration.handover import machine_source as source
from culvert.migration.handover.machine import Do, Next, PeerKind, Step

Rows = Mapping[tuple[Any, Any], Next[Any]]


def diagram(rows: Rows, start: Any, final: Iterable[Any]) -> Iterator[str]:
    """A state diagram in Mermaid: what leads from one state to another. What changes no state is in the table."""
    yield from ("```mermaid", "stateDiagram-v2", f"    [*] --> {start.name}")
    edges: dict[tuple[str, str], list[str]] = {}
    for (state, event), following in rows.items():
        if following.state is not state:
            edges.setdefault((state.name, following.state.name), []).append(event.value.replace(":", ""))
    for (here, there), events in edges.items():
        yield f"    {here} --> {there}: {'<br>'.join(events)}"
    yield from (f"    {state.name} --> [*]" for state in sorted(final, key=lambda state: str(state.name)))
    yield from ("```", "")


def commands(following: Next[Any]) -> str:
    """A row's commands in their order."""
    words = [f"`{command if not isinstance(command, Do) else command.value}`" for command in following.commands]
    return ", ".join(words) or "–"


def rows_of(rows: Rows) -> list[list[str]]:
    """The table: state, events, next state, commands. Events that do the same in a state share a line."""
    merged: dict[tuple[Any, Any, tuple[Any, ...]], list[str]] = {}
    for (state, event), following in sorted(rows.items(), key=lambda item: _place(*item[0])):
        merged.setdefault((state, following.state, following.commands), []).append(event.value)
    return [
        [
            *(f"`{state.value}`", "; ".join(events)),
            *(
                "" if there is state else f"`{there.value}`",
                commands(Next(there, done)) if done or there is not state else "ignored",
            ),
        ]
        for (state, there, done), events in merged.items()
    ]


def _place(state: Enum, event: Enum) -> tuple[int, int]:
    return list(type(state)).index(state), list(type(event)).index(event)


def recovered(direction: str, rows: Rows, says: Iterable[recovery.Qemu]) -> list[list[str]]:
    """The recovery table of one direction; what cannot occur is marked."""
    order = [word for word in recovery.Qemu if word in set(says)]
    found = []
    for step in Step:
        for word in order:
            following = rows.get((step, word))
            if following is None and (step, word) not in recovery.CANNOT_OCCUR:
                continue
            if following is None:
                found.append([direction, f"`{step.value}`", word.value, "", "cannot occur"])
                continue
            note = " (cannot occur)" if (step, word) in recovery.CANNOT_OCCUR else ""
            asks = " the peer's word decides" if Do.ASK in following.commands else ""
            found.append(
                [
                    *(direction, f"`{step.value}`", word.value, f"`{following.state.value}`"),
                    f"{commands(following)}{';' + asks if asks else ''}{note}",
                ]
            )
    return found


def words() -> list[list[str]]:
    """What each word of the destination does at a source that waits for one."""
    table, found = source.table(), []
    events = [*(source.Event[f"WORD_{word.name}"] for word in destination.Word), source.Event.UNREACHABLE]
    for event in events:
        cells = []
        for state in (source.State.ASKING, source.State.UNDECIDED, source.State.POSTCOPY_FAILED):
            following = table[state, event]
            cells.append(f"`{following.state.value}`: {commands(following)}")
        found.append([event.value, *cells])
    return found


def stock() -> list[list[str]]:
    """The rows in which a stock peer differs."""
    usual, other = source.table(), source.table(PeerKind.STOCK)
    different = {key: other[key] for key in other if other[key] != usual[key]}
    return rows_of(different)
