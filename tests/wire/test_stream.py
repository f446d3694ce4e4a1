from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.wire.stream import STEPS, Act, HalfState, IllegalStep, Role, StreamState

A = Act


def run(role: Role, *acts: Act) -> StreamState:
    state = StreamState(role)
    for act in acts:
        state.step(act)
    return state


@pytest.mark.parametrize(
    ("role", "acts"),
    [
        # client: upload and finish; download to its end and finish; console in both directions
        (Role.CLIENT, [A.SEND_DATA, A.SEND_DATA, A.SEND_OK, A.RECEIVE_OK]),
        (Role.CLIENT, [A.RECEIVE_DATA, A.RECEIVE_END, A.SEND_OK, A.RECEIVE_OK]),
        (Role.CLIENT, [A.SEND_DATA, A.RECEIVE_DATA, A.SEND_DATA, A.SEND_OK, A.RECEIVE_DATA, A.RECEIVE_OK]),
        # late error, early error, abort, abort of a finish, error crossing an abort
        (Role.CLIENT, [A.SEND_DATA, A.SEND_OK, A.RECEIVE_ERROR]),
        (Role.CLIENT, [A.SEND_DATA, A.RECEIVE_ERROR]),
        (Role.CLIENT, [A.SEND_DATA, A.SEND_ERROR, A.RECEIVE_DATA, A.RECEIVE_OK]),
        (Role.CLIENT, [A.SEND_OK, A.SEND_ERROR, A.RECEIVE_OK]),
        (Role.CLIENT, [A.SEND_ERROR, A.RECEIVE_ERROR]),
        (Role.SERVER, [A.RECEIVE_DATA, A.RECEIVE_END, A.RECEIVE_OK, A.SEND_OK]),
        (Role.SERVER, [A.SEND_DATA, A.SEND_END, A.RECEIVE_OK, A.SEND_OK]),
        (Role.SERVER, [A.RECEIVE_DATA, A.RECEIVE_OK, A.SEND_DATA, A.SEND_END, A.SEND_OK]),
        (Role.SERVER, [A.RECEIVE_OK, A.SEND_ERROR]),
        (Role.SERVER, [A.RECEIVE_DATA, A.SEND_ERROR]),
        (Role.SERVER, [A.RECEIVE_DATA, A.RECEIVE_ERROR, A.SEND_OK]),
        (Role.SERVER, [A.RECEIVE_OK, A.RECEIVE_ERROR, A.SEND_OK]),
        (Role.SERVER, [A.SEND_END, A.RECEIVE_ERROR, A.SEND_ERROR]),
    ],
)
def test_whole_lives(role: Role, acts: list[Act]) -> None:
    assert not run(role, *acts[:-1]).closed
    assert run(role, *acts).closed


@pytest.mark.parametrize(
    ("role", "acts"),
    [
        (Role.CLIENT, [A.RECEIVE_OK]),  # not asked for
        (Role.CLIENT, [A.SEND_OK, A.SEND_DATA]),
        (Role.CLIENT, [A.SEND_OK, A.SEND_OK]),
        (Role.CLIENT, [A.SEND_ERROR, A.SEND_ERROR]),
        (Role.CLIENT, [A.RECEIVE_END, A.RECEIVE_DATA]),
        (Role.CLIENT, [A.SEND_END]),  # the server's word
        (Role.SERVER, [A.SEND_OK]),  # nothing to confirm
        (Role.SERVER, [A.SEND_END, A.SEND_DATA]),
        (Role.SERVER, [A.SEND_END, A.SEND_END]),
        (Role.SERVER, [A.RECEIVE_OK, A.RECEIVE_DATA]),
        (Role.SERVER, [A.RECEIVE_OK, A.RECEIVE_OK]),
        (Role.SERVER, [A.RECEIVE_ERROR, A.SEND_DATA]),
    ],
)
def test_illegal_last_act_changes_nothing(role: Role, acts: list[Act]) -> None:
    state = run(role, *acts[:-1])
    before = (state.send, state.receive)
    with pytest.raises(IllegalStep):
        state.step(acts[-1])
    assert (state.send, state.receive) == before


@pytest.mark.parametrize("role", Role)
def test_closed_is_the_end(role: Role) -> None:
    for act in Act:
        state = StreamState(role)
        state.send = state.receive = HalfState.CLOSED
        with pytest.raises(IllegalStep):
            state.step(act)


@given(st.sampled_from(Role), st.lists(st.sampled_from(Act), max_size=30))
def test_halves_close_together_and_illegal_acts_change_nothing(role: Role, acts: list[Act]) -> None:
    state = StreamState(role)
    for act in acts:
        before = (state.send, state.receive)
        try:
            state.step(act)
        except IllegalStep:
            assert (state.send, state.receive) == before
        assert (state.send is HalfState.CLOSED) == (state.receive is HalfState.CLOSED)


_MIRROR = {
    A.SEND_DATA: A.RECEIVE_DATA,
    A.SEND_END: A.RECEIVE_END,
    A.SEND_OK: A.RECEIVE_OK,
    A.SEND_ERROR: A.RECEIVE_ERROR,
}

World = tuple[HalfState, HalfState, HalfState, HalfState, tuple[Act, ...], tuple[Act, ...]]


def test_two_ends_never_surprise_each_other() -> None:
    """Everything one end may send, in every reachable state with anything in flight, the other may receive.

    Explores all states of (client, server, packets under way each way); at most three packets under way each way.
    A packet for a stream that is closed at its receiver is dropped, as the connection does.
    """
    start: World = (HalfState.OPEN, HalfState.OPEN, HalfState.OPEN, HalfState.OPEN, (), ())
    seen, todo = {start}, [start]

    def states(client: StreamState, server: StreamState) -> tuple[HalfState, HalfState, HalfState, HalfState]:
        return client.send, client.receive, server.send, server.receive

    def ends(found: tuple[HalfState, HalfState, HalfState, HalfState]) -> tuple[StreamState, StreamState]:
        client, server = StreamState(Role.CLIENT), StreamState(Role.SERVER)
        client.send, client.receive, server.send, server.receive = found
        return client, server

    while todo:
        *found, up, down = todo.pop()
        here = (found[0], found[1], found[2], found[3])
        moves: list[World] = []
        for act, from_client in itertools.product(_MIRROR, (True, False)):
            client, server = ends(here)
            if len(up if from_client else down) >= 3:
                continue
            try:
                (client if from_client else server).step(act)
            except IllegalStep:
                continue
            under_way = ((*up, act), down) if from_client else (up, (*down, act))
            moves.append((*states(client, server), *under_way))
        for to_server, queue in ((True, up), (False, down)):
            if not queue:
                continue
            client, server = ends(here)
            receiver = server if to_server else client
            if not receiver.closed:
                receiver.step(_MIRROR[queue[0]])  # must not raise
            moves.append((*states(client, server), *((queue[1:], down) if to_server else (up, queue[1:]))))
        for move in moves:
            if move not in seen:
                seen.add(move)
                todo.append(move)
    assert len(seen) > 100


def test_tables_name_only_their_own_states() -> None:
    for send, receive in STEPS.values():
        for table in (send, receive):
            reachable = {HalfState.OPEN} | set(table.values())
            assert {state for state, _ in table} <= reachable
