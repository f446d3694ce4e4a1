"""The tables: every cell has its place, what is not well is seen, and what is written is read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from generations import plan, table
from generations.plan import Cell, Kind, Word
from generations.table import Outcome

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = Path(__file__).resolve().parents[2] / "generations" / "results" / "results.json"


def outcome(cell: Cell, word: Word = Word.OK, *, ok: bool = True, note: str = "") -> Outcome:
    return Outcome(cell.name, word, ok, note, 1.0, "abc1234", "" if ok else "it.log")


DEMO = Cell(Kind.RUN, "13", "demo")
Q35, PC = (Cell(Kind.PAIR, "13", "direct/pre-copy", "12", machine) for machine in ("pc-q35-7.2", "pc-i440fx-7.2"))
OWN = Cell(Kind.PAIR, "13", "direct/pre-copy", "12", "q35")
STOCK = Cell(Kind.STOCK, "12", "native", "13", "pc-q35-7.2")
FOUND = {
    each.name: each
    for each in (
        outcome(DEMO),
        outcome(Q35),
        outcome(PC, Word.FAILED, ok=False, note="a page | is bad"),
        outcome(OWN, Word.REFUSED, note="no pc-q35-10.0"),
        outcome(STOCK, Word.REFUSED, ok=False, note="why not"),
    )
}


def cell_of(rows: table.Rows, row: str, column: str) -> str:
    return next(each for each in rows if each[0] == row)[rows[0].index(column)]


def test_where_they_are() -> None:
    assert cell_of(table.runs(FOUND), "`make demo`", "Debian 13") == "ok"
    assert cell_of(table.runs(FOUND), "`make demo`", "Debian 12") == table.NOT_THERE
    assert cell_of(table.pairs(FOUND), "direct, pre-copy", "13 → 12 → 13") == "1 FAILED, 1 ok, 1 refused"
    assert cell_of(table.stock(FOUND), "native", "culvert 12, libvirtd 13") == "refused!"


def test_every_cell_has_a_place() -> None:
    every = {cell.name: outcome(cell) for cell in plan.cells()}
    shown = [*table.runs(every)[1:], *table.pairs(every)[1:], *table.stock(every)[1:]]
    assert sum(text == "ok" for row in shown for text in row[1:]) == len(
        {(cell.kind, cell.first, cell.second, cell.what) for cell in plan.cells()}
    )


def test_what_is_not_well_is_listed() -> None:
    assert [row[0] for row in table.failures(FOUND)[1:]] == [f"`{PC.name}`", f"`{STOCK.name}`"]
    assert [row[1] for row in table.refusals(FOUND)[1:]] == ["no pc-q35-10.0"]
    text = table.text(FOUND)
    assert "5 cells: 2 ok, 2 refused, 1 FAILED; 2 not as they must be" in text
    assert f"{PC.name}: a page | is bad  (it.log)" in text


def test_a_bar_in_a_note_is_no_column() -> None:
    assert "a page \\| is bad" in table.markdown(table.failures(FOUND))
    assert table.markdown([["only", "a head"]]) == ""


def test_written_and_read_again() -> None:
    told, facts = {"13": {"qemu": "10.0.13"}}, {"date": "a day"}
    assert table.from_json(table.to_json(FOUND, told, facts)) == (FOUND, told, facts)
    for other in ("{}", '{"cells": [1]}', '{"cells": [{"name": "a"}]}', "[]"):
        with pytest.raises(ValueError, match="not a result"):
            table.from_json(other)


def test_in_the_plan_s_order_and_nothing_else() -> None:
    gone = {"pair/of/old": outcome(DEMO), **dict(reversed(FOUND.items()))}
    found = list(table.in_order(gone, plan.cells()))
    assert found == [cell.name for cell in plan.cells() if cell.name in FOUND]


def test_the_page_is_what_the_results_say() -> None:
    page = (DOCS / "generations.md").read_text("utf-8")
    assert page == table.page(page, *table.from_json(RESULTS.read_text("utf-8")))
