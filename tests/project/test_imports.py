"""What imports what: no circle among culvert's modules, and no star.

import-linter keeps the floors (pyproject.toml), and lets the modules of one package import each other as they like.
Here every import counts, wherever it stands: in a function, and where only the type checker sees it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
FIRST_LINES = 5  # where a file says that it is generated


def modules(source: Path) -> dict[str, Path]:
    """Every module below ``source`` by its name; a package by the name of its folder."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(text: str, package: str) -> Iterator[tuple[str, str]]:
    """Every import of a module of ``package``, as "from" and name; no name for a plain ``import``."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((origin, alias.name) for alias in node.names)


def graph(texts: Mapping[str, str], packages: frozenset[str]) -> dict[str, set[str]]:
    """Which of the modules in ``texts`` imports which others; those in ``packages`` are packages."""
    edges: dict[str, set[str]] = {}
    for module, text in texts.items():
        package = module if module in packages else module.rpartition(".")[0]
        named = {
            full if (full := f"{origin}.{name}") in texts else origin for origin, name in imported(text, package)
        }
        edges[module] = (named & texts.keys()) - {module}
    return edges


def circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """The largest groups of modules that all reach each other, each sorted; empty when there is no circle."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            new = edges[ahead.pop()] - seen
            seen |= new
            ahead.extend(new)
        return seen

    reach = {module: reached(module) for module in edges}
    groups = {frozenset(other for other in reach[module] if module in reach[other]) for module in edges}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def stars(text: str) -> list[int]:
    """The lines of star imports in a file that is not generated."""
    if not re.search(r"\bimport\s*\*", text):
        return []  # most files, without parsing them
    if re.search(r"\bgenerated\b", "\n".join(text.splitlines()[:FIRST_LINES]), re.IGNORECASE):
        return []
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]


def test_no_circle_between_modules() -> None:
    paths = modules(SOURCE)
    texts = {module: path.read_text("utf-8") for module, path in paths.items()}
    packages = frozenset(module for module, path in paths.items() if path.stem == "__init__")
    edges = graph(texts, packages)
    assert sum(map(len, edges.values())) > len(edges)  # it has seen the imports
    found = circles(edges)
    assert not found, "modules that import each other: " + "; ".join(" ⇄ ".join(group) for group in found)


def test_no_star_imports() -> None:
    files = [
        path
        for folder in ROOT.iterdir()
        if folder.is_dir() and not folder.name.startswith(".") and folder.name not in {"build", "dist"}
        for path in folder.rglob("*.py")
    ]
    assert Path(__file__) in files
    found = {str(path.relative_to(ROOT)): lines for path in files if (lines := stars(path.read_text("utf-8")))}
    assert not found


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({}, []),
        ({"a": "b", "b": "c", "c": ""}, []),
        ({"a": "bc", "b": "d", "c": "d", "d": ""}, []),
        ({"a": "b", "b": "a"}, [["a", "b"]]),
        ({"a": "b", "b": "c", "c": "a", "d": "a"}, [["a", "b", "c"]]),
        ({"a": "b", "b": "ac", "c": "d", "d": "c", "e": "a"}, [["a", "b"], ["c", "d"]]),
        ({"a": "bc", "b": "a", "c": "a"}, [["a", "b", "c"]]),
    ],
)
def test_finder(edges: dict[str, str], expected: list[list[str]]) -> None:
    assert circles({module: set(others) for module, others in edges.items()}) == expected


@pytest.mark.parametrize(
    "line",
    [
        "import p.b",
        "import p.b as other",
        "from p import b",
        "from p.b import thing",
        "from . import b",
        "from .b import thing",
        "if TYPE_CHECKING:\n    from p.b import thing",
        "def late():\n    from p import b",
    ],
)
def test_every_form_of_import_is_seen(line: str) -> None:
    texts = {"p": "", "p.a": line, "p.b": "import p.a", "p.q": "from .. import p", "p.q.c": "from ..b import thing"}
    edges = graph(texts, frozenset({"p", "p.q"}))
    assert edges["p.a"] == {"p.b"}
    assert edges["p.q.c"] == {"p.b"}
    assert circles(edges) == [["p.a", "p.b"]]


def test_what_is_no_module_of_ours_counts_for_nothing() -> None:
    edges = graph({"p": "", "p.a": "import os\nfrom p import b\nfrom p.a import itself"}, frozenset({"p"}))
    assert edges == {"p": set(), "p.a": {"p"}}


def test_stars_are_seen_but_in_generated_files() -> None:
    text = "import a\n\n\n\n\nfrom a import *\n"
    assert stars(text) == [6]
    assert stars("# Generated by protoc.\n" + text) == []
    assert stars(text + "# generated\n") == [6]
