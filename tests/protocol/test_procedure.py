"""Tables refuse what would make them ambiguous."""

from __future__ import annotations

from types import ModuleType

import pytest

from culvert.protocol.procedure import Message, Procedure, Program
from culvert.xdr.struct import Void

ONE = Procedure(1, "ONE", Void, Void)
TWO = Procedure(2, "TWO", Void, Void)
EVENT = Message(3, "EVENT", Void)


def module(**names: object) -> ModuleType:
    made = ModuleType("rows")
    vars(made).update(names)
    return made


def test_rows_are_found_by_number_and_in_order() -> None:
    program = Program("P", 7, 1, [TWO, ONE], [EVENT])
    assert program.procedures == {2: TWO, 1: ONE}
    assert list(program) == [TWO, ONE]
    assert program.messages == {3: EVENT}


def test_two_procedures_cannot_share_a_number() -> None:
    with pytest.raises(ValueError, match="procedure 1 is declared twice"):
        Program("P", 7, 1, [ONE, Procedure(1, "OTHER", Void, Void)])


@pytest.mark.parametrize("number", [1, 3])
def test_a_message_cannot_have_a_number_that_is_taken(number: int) -> None:
    with pytest.raises(ValueError, match=f"message {number} is declared twice"):
        Program("P", 7, 1, [ONE], [EVENT, Message(number, "OTHER", Void)])


def test_of_modules_takes_rows_and_nothing_else() -> None:
    program = Program.of_modules("P", 7, 1, module(ONE=ONE, NUMBER=5, EVENT=EVENT), module(TWO=TWO))
    assert list(program) == [ONE, TWO]
    assert list(program.messages.values()) == [EVENT]


def test_of_modules_wants_row_and_name_to_agree() -> None:
    with pytest.raises(ValueError, match="UNO is declared as ONE"):
        Program.of_modules("P", 7, 1, module(UNO=ONE))
