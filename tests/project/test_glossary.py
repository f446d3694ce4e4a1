"""One word per thing: the glossary's tables against the code, and no class name twice that it does not know of."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "culvert"
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")


def rows(title: str) -> list[list[str]]:
    """The cells of the table below the heading ``title``, without its head."""
    _, _, rest = GLOSSARY.partition(f"\n## {title}\n")
    section = rest.partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


@cache
def modules() -> dict[str, ast.Module]:
    """Every module by its name below ``culvert``."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = [part for part in path.relative_to(SOURCE).with_suffix("").parts if part != "__init__"]
        found[".".join(parts)] = ast.parse(path.read_text("utf-8"))
    return found


def defined(tree: ast.Module) -> set[str]:
    """The names that a module's top level makes."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def twice(classes: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Of module → its classes: the names that stand in more than one module, and in which."""
    where = defaultdict[str, set[str]](set)
    for module, each in classes.items():
        for name in each:
            if not name.startswith("_"):
                where[name].add(module)
    return {name: found for name, found in where.items() if len(found) > 1}


def test_what_stands_twice_is_found() -> None:
    assert twice({"a": ["One", "_Own"], "b": ["Two", "_Own"], "c.d": ["One"]}) == {"One": {"a", "c.d"}}
    assert twice({"a": ["One"], "b": ["Two"]}) == {}


def test_no_class_name_stands_twice_but_for_those_of_the_glossary() -> None:
    classes = {
        module: [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
        for module, tree in modules().items()
    }
    told = {names(name)[0]: set(names(where)) for name, where, _ in rows("Names that stand in several modules")}
    assert twice(classes) == told


@pytest.mark.parametrize(("word", "what", "where"), [row[:3] for row in rows("Words")], ids=lambda cell: cell[:20])
def test_a_word_says_what_it_is_and_where_it_is(word: str, what: str, where: str) -> None:
    assert word
    assert what, word
    known = modules()
    for name in names(where):
        module, _, last = name.rpartition(".")
        assert name in known or last in defined(known[module]), f"{word}: there is no {name}"


def test_the_words_are_in_order_and_each_is_there_once() -> None:
    words = [row[0].lower() for row in rows("Words")]
    assert len(words) > 40
    assert words == sorted(set(words))
