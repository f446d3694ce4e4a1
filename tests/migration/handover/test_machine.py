"""The two tables: every state and event is told, what must be written is written first, late events do nothing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytest

from culvert.migration.handover import machine_destination as destination
from culvert.migration.handover import machine_recovery as recovery
from culvert.migration.handover import machine_source as source
from culvert.migration.handover.machine import (
    ANSWERED,
    OVER,
    Do,
    MachineError,
    Next,
    PeerKind,
    Step,
    Write,
    ignored,
    join,
    row,
    step,
)

TABLES: dict[str, Mapping[tuple[Any, Any], Next[Any]]] = {
    "source": source.table(),
    "source, stock peer": source.table(PeerKind.STOCK),
    "destination": destination.table(),
}
ALL_ROWS = [
    *(following for table in TABLES.values() for following in table.values()),
    *(source.START, destination.START),
    *recovery.SOURCE.values(),
    *recovery.DESTINATION.values(),
]
S, SE, D, DE = source.State, source.Event, destination.State, destination.Event


def test_step_answers_by_the_table_or_changes_nothing() -> None:
    table = source.table()
    assert step(table, S.ASKING, SE.TICK) == Next(S.ASKING, (Do.ASK,))
    with pytest.raises(MachineError, match="'sent' cannot happen in state 'begin3'"):
        step(table, S.BEGIN3, SE.SENT)


def test_a_table_says_a_thing_once() -> None:
    with pytest.raises(MachineError, match="two rows"):
        join(row(S.ASKING, SE.TICK, S.ASKING), ignored([S.ASKING], [SE.TICK]))


def test_a_command_that_answers_is_the_last_of_its_row() -> None:
    for following in ALL_ROWS:
        assert not ANSWERED & set(following.commands[:-1]), following


@pytest.mark.parametrize("name", TABLES)
def test_everything_that_people_and_the_network_can_do_at_any_time_has_a_row(name: str) -> None:
    """Only what the machine itself has asked for may be without one."""
    any_time: dict[type[Enum], set[Any]] = {
        S: {SE.CUT, SE.DEADLINE, SE.CANCEL, SE.RESOLVED_HERE, SE.RESOLVED_THERE, SE.SWITCH, SE.RECOVER, SE.QEMU_GONE},
        D: {DE.CUT, DE.SILENCE, DE.ASKED, DE.GRANT, DE.STALE, DE.CALLED_OFF, DE.ATTACHED, DE.QEMU_GONE},
    }
    states = D if name == "destination" else S
    missing = [
        (state.value, event.value)
        for state, event in itertools.product(states, any_time[states])
        if (state, event) not in TABLES[name]
    ]
    assert missing == []


def test_what_cannot_be_taken_back_stands_behind_its_row() -> None:
    before: dict[Any, set[Step]] = {
        Do.GRANT: {Step.PERFORM3_DONE},
        Do.CONT: {Step.FINISH3},
        Do.SWITCH: {Step.POSTCOPY},
    }
    # In post-copy the row of the switch stands for the grant too: it is on the disk long before.
    switched = {(S.SWITCHING, SE.SWITCHED), (S.POSTCOPY_FAILED, SE.RECOVER)}
    for table in TABLES.values():
        for key, following in table.items():
            for number, command in enumerate(following.commands):
                if command in before and key not in switched:
                    written = {c.step for c in following.commands[:number] if isinstance(c, Write) and c.must}
                    assert written >= before[command], (key, following)


def test_the_cpus_start_in_one_way_only() -> None:
    """The grant leads to FINISH3 or from SWITCHED, the whole state (or the switch) from there to the CPUs."""
    starts = {key for key, following in destination.table().items() if Do.CONT in following.commands}
    assert starts == {(D.FINISH3, DE.LOADED), (D.SWITCHED, DE.GRANT)}
    granted = {key for key, following in destination.table().items() if following.state is D.FINISH3}
    assert {event for state, event in granted if state is not D.FINISH3} == {DE.GRANT}


def test_after_the_grant_the_guest_goes_on_here_only_on_a_promise_or_a_persons_word() -> None:
    table = source.table()
    after = (S.PERFORM3_DONE, S.ASKING, S.UNDECIDED, S.POSTCOPY, S.POSTCOPY_FAILED)
    ways = {(state, event) for (state, event), n in table.items() if state in after and Do.RESUME in n.commands}
    assert {event for _, event in ways} == {SE.WORD_GONE, SE.RESOLVED_HERE} | {
        event for state, event in ways if state is S.PERFORM3_DONE
    }
    assert {event for state, event in ways if state is S.PERFORM3_DONE} == set()
    assert (S.POSTCOPY_FAILED, SE.RESOLVED_HERE) not in ways


def test_what_is_over_stays_over() -> None:
    for name, final in (("source", source.FINAL), ("destination", destination.FINAL)):
        for (state, _), following in TABLES[name].items():
            if state in final:
                assert following.state is state
                assert not any(isinstance(command, Write) for command in following.commands)


def test_every_state_of_the_destination_has_a_word() -> None:
    assert set(destination.WORDS) == set(D)
    assert {source.Event[f"WORD_{word.name}"] for word in destination.Word} <= set(SE)


def test_recovery_has_a_row_for_every_step_and_everything_that_qemu_may_say() -> None:
    ours = set(Step) - set(recovery.DESTINATION_STEPS) - OVER | {Step.POSTCOPY}
    assert ours == recovery.SOURCE_STEPS
    missing = {
        *(set(itertools.product(ours, recovery.SOURCE_SAYS)) - set(recovery.SOURCE)),
        *(set(itertools.product(recovery.DESTINATION_STEPS, recovery.DESTINATION_SAYS)) - set(recovery.DESTINATION)),
    }
    assert missing <= recovery.CANNOT_OCCUR, missing - recovery.CANNOT_OCCUR


def test_recovery_never_starts_cpus_at_the_destination_and_never_kills_what_runs_there() -> None:
    for (_, says), following in recovery.DESTINATION.items():
        assert Do.CONT not in following.commands
        if says in (recovery.Qemu.RUNNING, recovery.Qemu.RUNNING_SWITCHED):
            assert Do.KILL not in following.commands
