"""The list of pure tests (tests/pure.py) names what there is, and what it forbids cannot be done."""

from __future__ import annotations

import ast
import asyncio
import multiprocessing
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from tests import pure
from tests.pure import ALL, FOLDERS, OTHERS, REAL, TESTS, NotPure, Plugin, Watch, is_pure

HERE = TESTS / "project" / "test_pure.py"


def test_the_list_names_what_there_is() -> None:
    folders = {path.parent.name for path in TESTS.glob("*/__init__.py")}
    assert {*FOLDERS, *OTHERS} == folders, "a folder of tests is in one list or the other"
    missing = []
    for module, tests in REAL.items():
        path = TESTS / module
        assert path.is_file(), module
        assert pure.in_pure_folder(path), module
        defined = {getattr(node, "name", "") for node in ast.parse(path.read_text("utf-8")).body}
        missing += [f"{module}::{test}" for test in tests if tests != ALL and test not in defined]
    assert missing == []


def test_what_is_pure() -> None:
    assert is_pure(HERE, "test_what_is_pure")
    assert not is_pure(HERE, "test_it_is_forbidden")
    assert not is_pure(TESTS / "rpc" / "test_virsh.py", "test_any")
    assert not is_pure(TESTS / "system" / "test_tls.py", "test_any")
    assert not is_pure(TESTS.parent / "xdr" / "test_elsewhere.py", "test_any")


def test_this_one_has_the_mark(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("pure")


def test_the_marks(request: pytest.FixtureRequest) -> None:
    """A test that is not pure has none, nor is it watched."""
    assert request.node.get_closest_marker("pure") is None
    subprocess.run(["/bin/true"], check=True)


def _in_a_thread() -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            subprocess.run(["/bin/true"], check=True)
        except NotPure as err:
            raised.append(err)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    raise raised[0]


def _with_a_socket(use: Callable[[socket.socket], object]) -> None:
    with socket.socket() as sock:
        use(sock)


FORBIDDEN: dict[str, Callable[[], object]] = {
    "run": lambda: subprocess.run(["/bin/true"], check=True),
    "asyncio": lambda: asyncio.run(asyncio.create_subprocess_exec("/bin/true")),
    "thread": _in_a_thread,
    "system": lambda: os.system("true"),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "fork": lambda: multiprocessing.get_context("fork").Process(target=int).start(),
    "multiprocessing": lambda: multiprocessing.get_context("spawn").Process(target=int).start(),
    "bind": lambda: _with_a_socket(lambda sock: sock.bind(("127.0.0.1", 0))),
    "listen": lambda: _with_a_socket(lambda sock: sock.listen(1)),
    "connect": lambda: _with_a_socket(lambda sock: sock.connect(("127.0.0.1", 9))),
    "connect_ex": lambda: _with_a_socket(lambda sock: sock.connect_ex(("127.0.0.1", 9))),
    "name": lambda: socket.getaddrinfo("localhost", 9),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_it_is_forbidden(what: str) -> None:
    watch = Watch()
    with watch.on(), pytest.raises(NotPure, match=r"a pure test must not; see tests/pure\.py"):
        FORBIDDEN[what]()
    assert len(watch.tried) == 1
    subprocess.run(["/bin/true"], check=True)  # and afterwards it is not


def test_pairs_are_allowed() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(b"x")
        assert there.recv(1) == b"x"


def test_what_is_swallowed_still_fails() -> None:
    item = cast(pytest.Item, SimpleNamespace(get_closest_marker=lambda name: object()))
    phase = Plugin().watched(item)
    next(phase)
    with pytest.raises(NotPure):
        subprocess.run(["/bin/true"], check=True)
    with pytest.raises(pytest.fail.Exception, match=r"declared pure \(tests/pure.py\), and it has tried:\n.*true"):
        phase.send(None)
