"""What is printed of the matrix."""

from __future__ import annotations

import pytest

from faults import plan, table
from faults.experiment import Outcome
from faults.plan import Word


def outcomes(**words: Word) -> dict[str, Outcome]:
    names = {key.replace("__", "/").replace("_", "-"): word for key, word in words.items()}
    good = plan.GOOD | {Word.LOST_TOLD}
    return {name: Outcome(name, word, word in good, "seen", 1.5) for name, word in names.items()}


FOUND = outcomes(
    culvert__p2p__cont__cut=Word.DESTINATION,
    culvert__p2p__flow__cut=Word.SOURCE,
    libvirt__p2p__flow__cut=Word.TWICE,
    culvert__client__flow__abort=Word.STUCK,
)


def test_markdown_has_both_side_by_side() -> None:
    assert table.markdown(FOUND).splitlines() == [
        "| boundary | fault | p2p, culvert | p2p, libvirt | client, culvert |",
        "|---|---|---|---|---|",
        "| memory flows | connections reset | ok-source | **TWICE** | – |",
        "|  | domjobabort | – | – | **STUCK** |",
        "| cont is said, arrived not written | connections reset | ok-destination | – | – |",
    ]


def test_digest_counts_words_over_the_boundaries() -> None:
    assert table.digest(FOUND).splitlines() == [
        "| fault | p2p, culvert | p2p, libvirt | client, culvert |",
        "|---|---|---|---|",
        "| connections reset | 2 ok | 1 TWICE | – |",
        "| domjobabort | – | – | 1 STUCK |",
    ]


def test_text_has_every_word_and_a_sum() -> None:
    lines = table.text(FOUND).splitlines()
    assert any(line.split() == ["domjobabort", "–", "–", "STUCK"] for line in lines)
    assert lines[-2] == "culvert: 3 cells, 1 not as they must be: ok-source 1, ok-destination 1, STUCK 1"
    assert lines[-1] == "libvirt: 1 cells, 1 not as they must be: TWICE 1"


def test_a_good_word_where_it_must_not_be_is_marked() -> None:
    found = {"culvert/p2p/flow/cut": Outcome("culvert/p2p/flow/cut", Word.LOST_TOLD, False, "", 1.0)}
    assert "**lost-told!**" in table.markdown(found)


def test_json_there_and_back() -> None:
    text = table.to_json(FOUND, {"qemu": "7.2"})
    assert table.from_json(text) == FOUND
    for rubbish in ("{}", "[]", "rubbish", '{"cells": [{"name": "x"}]}'):
        with pytest.raises(ValueError, match=r"."):
            table.from_json(rubbish)


def test_order_is_the_plan_s_and_what_is_no_cell_is_dropped() -> None:
    known = {**FOUND, **outcomes(culvert__pigeon__flow__cut=Word.SOURCE)}
    assert list(table.in_order(known, plan.cells())) == [
        "culvert/p2p/flow/cut",
        "culvert/p2p/cont/cut",
        "culvert/client/flow/abort",
        "libvirt/p2p/flow/cut",
    ]
