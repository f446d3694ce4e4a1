"""Tokens: good for one thing, once, for the one they were given to, while the door is open."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.channels.ticket import TICKET_PARAMETER, Gate, Ticket, Token, hidden, opening, opening_number
from culvert.ground import errors
from culvert.protocol.culvert import ChannelKind

TICKET = Ticket("name", "secret")
NUMBERS = st.integers(0, 2**32 - 1)
OPENINGS = st.one_of(
    st.builds(opening_number, NUMBERS),
    st.builds(opening, st.sampled_from(ChannelKind), st.from_regex(r"\A[A-Za-z0-9_-]{0,64}\Z")),
)
MAIN = opening("memory-main", "")
OTHER = opening("memory-multifd", "1")


def gate(holder: str = "", closes: float = 30.0) -> Gate:
    return Gate(TICKET, holder, closes)


def admit(door: Gate, text: str, who: str = "", now: float = 0.0) -> None:
    door.admit(Token.parse(text), who, now)


def test_tickets_are_drawn_anew_and_survive_their_way_through_a_uri() -> None:
    first, second = Ticket.draw(), Ticket.draw()
    assert first.secret != second.secret
    assert first.name != second.name
    assert Ticket.parse(str(first)) == first


@pytest.mark.parametrize("text", ["", ".", "name", "name.", ".secret"])
def test_what_is_no_ticket(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="ticket"):
        Ticket.parse(text)


@given(OPENINGS, NUMBERS)
def test_a_token_opens_what_it_was_made_for(opens: str, attempt: int) -> None:
    token = Token.parse(TICKET.token(opens, attempt))
    assert (token.name, token.opens, token.attempt) == ("name", opens, attempt)
    assert TICKET.matches(token)
    assert not Ticket("name", "guessed").matches(token)


@given(OPENINGS, NUMBERS, OPENINGS, NUMBERS)
def test_a_token_opens_nothing_else(opens: str, attempt: int, other: str, another: int) -> None:
    token = Token.parse(TICKET.token(opens, attempt))
    forged = dataclasses.replace(token, opens=other, attempt=another)
    assert TICKET.matches(forged) == ((opens, attempt) == (other, another))


@given(st.text())
def test_rubbish_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(errors.AuthenticationFailed):
        admit(gate(), text)


@pytest.mark.parametrize(
    "text",
    [
        *("name.0.1", "name.0.1.mac", "name.x.1.mac", "name.0.99999999999999999999.mac"),
        *("name.memory-main..1.mac", "name.disk.vda.x.mac", "name.disk.vda.1.mac.more", "name.disk..vda.1.mac"),
    ],
)
def test_guesses(text: str) -> None:
    with pytest.raises(errors.AuthenticationFailed, match="does not open"):
        admit(gate(), text)


def test_a_token_is_good_once() -> None:
    door = gate()
    admit(door, TICKET.token(MAIN, 1))
    with pytest.raises(errors.AuthenticationFailed, match="used already"):
        admit(door, TICKET.token(MAIN, 1))


def test_an_older_token_is_worth_nothing_once_a_newer_one_was_seen() -> None:
    door = gate()
    admit(door, TICKET.token(MAIN, 5))
    with pytest.raises(errors.AuthenticationFailed, match="used already"):
        admit(door, TICKET.token(MAIN, 4))
    admit(door, TICKET.token(OTHER, 4))  # another channel's attempts are its own


@pytest.mark.parametrize(("first", "second"), [(MAIN, opening_number(0)), (opening_number(0), MAIN)])
def test_a_channel_is_not_opened_once_by_each_form_of_token(first: str, second: str) -> None:
    door = gate()
    admit(door, TICKET.token(first, 1))
    for attempt in (1, 2):
        with pytest.raises(errors.AuthenticationFailed, match="of another wire"):
            admit(door, TICKET.token(second, attempt))
    admit(door, TICKET.token(first, 2))


def test_a_foreign_token_says_whose_it_is_and_stays_good() -> None:
    door = gate(holder="CN=host-a")
    with pytest.raises(errors.AuthenticationFailed, match="given to 'CN=host-a', not to 'CN=host-c'"):
        admit(door, TICKET.token(MAIN, 1), who="CN=host-c")
    admit(door, TICKET.token(MAIN, 1), who="CN=host-a")


def test_a_token_expires_unless_its_channel_was_open_before() -> None:
    door = gate(closes=30.0)
    admit(door, TICKET.token(MAIN, 1), now=30.0)
    admit(door, TICKET.token(MAIN, 2), now=3000.0)
    with pytest.raises(errors.AuthenticationFailed, match="expired"):
        admit(door, TICKET.token(OTHER, 3), now=30.1)


@given(st.from_regex(r"[a-z]{1,8}=[a-z0-9]{0,8}", fullmatch=True), st.integers(0, 2))
def test_a_hidden_ticket_is_in_no_text(other: str, place: int) -> None:
    ticket = Ticket.draw()
    query = [other, other]
    query.insert(place, f"{TICKET_PARAMETER}={ticket}")
    shown = hidden(f"cannot reach 'qemu+tcp://b:1/system?{'&'.join(query)}': no")
    assert ticket.secret not in shown
    assert ticket.name not in shown
    assert shown.endswith("': no")
    assert shown.count(other) >= 2
