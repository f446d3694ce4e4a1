"""The tests as texts: each of them can fail.

A test function must come to an assertion: one of its own, ``pytest.raises`` and its like, a wait that has a limit, or
a helper of the tests whose name says so or that is listed here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("tests", "faults", "guests", "benchmarks", "demo", "generations")
MODULES = {path: ast.parse(path.read_text("utf-8")) for each in FOLDERS for path in (ROOT / each).rglob("*.py")}

# Names of calls that raise when something is not as it should be.
CHECKS = re.compile(r"_?(assert|expect|check|verif)\w*|raises|warns|deprecated_call|fail|timeout")
# Helpers of the tests that do so under another name.
HELPERS = frozenset(
    {
        *(
            "aftermath",
            "answered",
            "closed",
            "echo",
            "exchange",
            "fails",
            "interrupted",
            "libvirt_python",
            "move",
            "_one",
        ),
        *("read_until", "refused", "until", "wait_closed", "wait_for"),
    }
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def called(node: ast.AST) -> Iterator[str]:
    """The names of what is called in ``node``, without what they are called on."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            if isinstance(call.func, ast.Name):
                yield call.func.id
            elif isinstance(call.func, ast.Attribute):
                yield call.func.attr


def narrows(test: ast.expr) -> bool:
    """``x is not None`` or ``isinstance(x, …)``: said to the type checker, mostly of what cannot be otherwise."""
    if isinstance(test, ast.Call):
        return isinstance(test.func, ast.Name) and test.func.id == "isinstance"
    return isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.IsNot)


def asserts(function: Function, *, narrowing: bool) -> bool:
    """Whether it comes to an assertion; ``narrowing``: also to one of what ``narrows``."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert) and (narrowing or not narrows(node.test)):
            return True
        if isinstance(node, ast.Raise) and node.exc is not None and "AssertionError" in ast.unparse(node.exc):
            return True
    return any(CHECKS.fullmatch(name) or (name in HELPERS and name != function.name) for name in called(function))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def is_test(function: Function) -> bool:
    return function.name.startswith("test_")


def constant(test: ast.expr) -> bool:
    """Whether it holds whatever happens: a value, a tuple, or an ``or`` with a value in it."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        return any(constant(part) for part in test.values)
    return isinstance(test, ast.Constant | ast.Tuple | ast.JoinedStr | ast.Lambda | ast.GeneratorExp)


TESTS = {path: tree for path, tree in MODULES.items() if path.name.startswith("test_")}


def test_every_test_comes_to_an_assertion() -> None:
    dumb = [
        f"{path.relative_to(ROOT)}:{each.lineno} {each.name}"
        for path, tree in TESTS.items()
        for each in functions(tree)
        if is_test(each) and not asserts(each, narrowing=True)
    ]
    assert len(TESTS) > 200
    assert dumb == []


def test_so_does_every_helper_that_is_taken_for_one() -> None:
    """One of each name at least: what is tested has methods of these names too."""
    found = {
        each.name
        for tree in MODULES.values()
        for each in functions(tree)
        if each.name in HELPERS and asserts(each, narrowing=False)
    }
    assert found == HELPERS


def test_no_assertion_always_holds() -> None:
    empty = [
        f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}"
        for path, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert) and constant(node.test)
    ]
    assert empty == []


def test_no_comparison_is_thrown_away() -> None:
    thrown = [
        f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}"
        for path, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Compare | ast.BoolOp)
    ]
    assert thrown == []


@pytest.mark.parametrize(
    ("text", "can_fail"),
    [
        ("notify('READY=1')", False),
        ("thing = make()\n    thing.stop()", False),
        ("assert made() == 1", True),
        ("with pytest.raises(ValueError): make()", True),
        ("virsh('list').expect()", True),
        ("for one in two:\n        one.assert_runs_only_on(host)", True),
    ],
)
def test_what_counts_as_an_assertion(text: str, can_fail: bool) -> None:
    [function] = functions(ast.parse(f"def test_it():\n    {text}"))
    assert asserts(function, narrowing=True) is can_fail


@pytest.mark.parametrize(
    ("text", "holds"),
    [("a in b or True", True), ("(a, 'b')", True), ("'a' or b", True), ("a or b", False), ("a == 1", False)],
)
def test_what_always_holds(text: str, holds: bool) -> None:
    assert constant(ast.parse(text, mode="eval").body) is holds
