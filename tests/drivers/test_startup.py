"""What a start looks at after each of its waits, and that it does look."""

from __future__ import annotations

import ast
import asyncio
import inspect
from pathlib import Path

import pytest

from culvert.domain.parse import parse
from culvert.drivers.qemu import launch
from culvert.drivers.qemu.process import Output, Process
from culvert.drivers.qemu.run import START_FAILED, Ending, Run
from culvert.drivers.qemu.startup import StartStep, Startup
from culvert.ground import errors
from culvert.protocol.constants_state import ShutoffReason, StoppedDetail
from tests.drivers.support import domain_xml

DESTROYED = Ending(ShutoffReason.DESTROYED, StoppedDetail.DESTROYED)
POWERED_OFF = Ending(ShutoffReason.SHUTDOWN, StoppedDetail.SHUTDOWN)

STARTS = (launch.boot, launch.incoming, launch.restored, launch._try_launch)
CLEARING = "run.gone.wait()"  # it has failed already
SPAWNING = "_spawn(domain, run, abilities, incoming=incoming)"  # looked at once somebody sees to the process


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.__name__)
def test_every_wait_of_a_start_is_a_step(start: object) -> None:
    """Who ends a domain has no other way to be seen by its start."""
    tree = ast.parse(inspect.getsource(start))  # type: ignore[arg-type]
    waits = [ast.unparse(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)]
    loose = [wait for wait in waits if not wait.startswith(("startup.step(", "startup.reach(", "_launch("))]
    assert [wait for wait in loose if wait not in (CLEARING, SPAWNING)] == []
    assert len(waits) > len(loose)


def test_every_step_is_made_somewhere() -> None:
    source = inspect.getsource(launch)
    assert [step for step in StartStep if f"StartStep.{step.name}" not in source] == []


def _run(*, started: bool, ended: bool, folder: Path) -> Run:
    run = Run(1, parse(domain_xml("g", uuid="11111111-2222-4333-8444-000000000001")), folder)
    run.started = started
    if ended:
        run.process = Process.__new__(Process)
        run.process.exited, run.process.status = asyncio.Event(), 256
        run.process.exited.set()
        run.process.output = Output(folder / "none", 0)
    return run


@pytest.mark.parametrize(
    ("ending", "started", "ended", "error"),
    [
        (None, False, False, None),
        (None, False, True, errors.OperationFailed),
        (None, True, True, None),  # it has run; what it did then is no matter of its start
        (DESTROYED, False, False, errors.OperationAborted),
        (DESTROYED, False, True, errors.OperationAborted),
        (DESTROYED, True, False, errors.OperationAborted),
        (POWERED_OFF, False, False, errors.OperationAborted),
        (POWERED_OFF, True, True, None),
    ],
)
async def test_whether_it_may_go_on(
    tmp_path: Path, ending: Ending | None, started: bool, ended: bool, error: type[errors.RequestError] | None
) -> None:
    startup = Startup("g", _run(started=started, ended=ended, folder=tmp_path), ending)
    if error is None:
        await startup.look()
        return
    with pytest.raises(error, match="'g'") as raised:
        await startup.look()
    assert ("exit status 1" in str(raised.value)) is (error is errors.OperationFailed)


async def test_the_reason_is_told_and_not_what_follows_from_it() -> None:
    startup = Startup("g", ending=DESTROYED)
    followed = errors.OperationFailed("the monitor is gone")
    with pytest.raises(errors.OperationAborted, match="'g' was destroyed while it was being started") as raised:
        startup.explain(followed)
    assert raised.value.__cause__ is followed
    told = errors.OperationAborted("as above")
    with pytest.raises(errors.OperationAborted) as again:
        startup.explain(told)
    assert again.value is told
    Startup("g").explain(followed)


def test_a_start_that_fails_is_no_end_by_others() -> None:
    assert START_FAILED.detail is None
    assert START_FAILED != DESTROYED
