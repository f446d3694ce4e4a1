"""The thread that answers goes before others, and what it starts does not."""

from __future__ import annotations

import errno
import os

import pytest

from culvert.daemon import priority


class Kernel:
    """What is asked of it, in order; ``denies`` is the call that it does not allow."""

    def __init__(self, nice: int = 0, denies: str = "") -> None:
        self.nice = nice
        self.denies = denies
        self.asked: list[tuple[str, int]] = []

    def getpriority(self, which: int, who: int) -> int:
        assert (which, who) == (os.PRIO_PROCESS, 0)
        return self.nice

    def setpriority(self, which: int, who: int, nice: int) -> None:
        assert (which, who) == (os.PRIO_PROCESS, 0)
        self._ask("setpriority", nice)

    def sched_setscheduler(self, who: int, policy: int, param: os.sched_param) -> None:
        assert (who, param.sched_priority) == (0, 0)
        self._ask("sched_setscheduler", policy)

    def _ask(self, name: str, number: int) -> None:
        self.asked.append((name, number))
        if name == self.denies:
            raise PermissionError(errno.EPERM, "not by you")


def answer_first(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> bool:
    for name in ("getpriority", "setpriority", "sched_setscheduler"):
        monkeypatch.setattr(os, name, getattr(kernel, name))
    return priority.answer_first()


RESET = ("sched_setscheduler", os.SCHED_OTHER | os.SCHED_RESET_ON_FORK)


def test_children_are_left_out_before_it_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    assert answer_first(kernel, monkeypatch)
    assert kernel.asked == [RESET, ("setpriority", -15)]


def test_one_that_has_a_higher_one_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(nice=-20)
    assert answer_first(kernel, monkeypatch)
    assert kernel.asked == []


@pytest.mark.parametrize("denies", ["setpriority", "sched_setscheduler"])
def test_without_the_right_to_it(
    denies: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = Kernel(denies=denies)
    with caplog.at_level("INFO"):
        assert not answer_first(kernel, monkeypatch)
    assert "priority not raised, answers may wait while guests move: not by you" in caplog.text
    assert kernel.asked[-1][0] == denies
