"""``culvert.client`` with real daemons and a real guest: the example of docs/client.md, and a cancelled task."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from culvert import client
from culvert.client import Location, MigrateOptions, Migration, Result
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "client_api.py"


def test_the_example(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder) as guest:
        ended = subprocess.run(
            [sys.executable, EXAMPLE, host_a.uri, host_b.tcp_uri, guest.name],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        guest.assert_runs_only_on(host_b, host_a)
    listed, aborted, *said = ended.stdout.splitlines()
    assert listed == "tiny is running (booted)"
    assert re.match("cancelled, the guest is at the source: .*canceled by client", aborted)
    assert said[0] == f"guest 'tiny' is running (booted) at {host_a.uri}"
    arrived = said.index(f"guest 'tiny' is running (migrated) at {host_b.tcp_uri}")
    assert all(re.fullmatch(r"\w+: \d+ %", line) for line in said[1:arrived])
    downtime, newest, oldest = said[arrived + 1 :]
    assert re.fullmatch(r"downtime \d+ ms", downtime)
    assert re.match(rf"[\d:]+ out {re.escape(host_b.tcp_uri)}: left", newest)
    assert re.match(rf"[\d:]+ out {re.escape(host_b.tcp_uri)}: stayed .*canceled by client", oldest)


async def test_a_cancelled_task_leaves_the_guest_where_it_was(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    flows = asyncio.Event()
    seen: list[Migration] = []

    async def move() -> None:
        slowly = MigrateOptions(bandwidth=1)
        async with (
            client.connect(host_a.uri) as host,
            host.migrate("tiny", host_b.tcp_uri, slowly) as migration,
        ):
            seen.append(migration)
            async for progress in migration:
                if progress.phase == "perform":
                    flows.set()

    with running_tiny(host_a, folder) as guest:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(move(), name="move")
            await flows.wait()
            task.cancel()
        assert task.cancelled()
        verdict = seen[0].verdict
        assert (verdict.result, verdict.location) == (Result.CANCELLED, Location.SOURCE)
        assert re.search(rf"guest 'tiny' is running \([a-z ]+\) at {re.escape(host_a.uri)}$", verdict.words)
        host_b.assert_no_leftovers()
        guest.assert_runs_only_on(host_a, host_b)
