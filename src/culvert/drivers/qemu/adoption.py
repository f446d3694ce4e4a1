"""After a restart of the daemon: which guests still run, and how they stand.

The status file says what there was; the pidfd says whether that process still is; QEMU's monitor says how it is.
A guest that ended meanwhile is reported as stopped. A guest whose monitor does not answer is kept and watched, and
the monitor tried again: what is not understood is not destroyed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from culvert.domain.definition import DomainDef
from culvert.drivers.qemu import (
    belongings,
    cpu_seen,
    launch,
    lifecycle,
    news,
    plugs,
    process,
    standing,
    states,
    strays,
    swtpm,
    unplug,
    vnc,
)
from culvert.drivers.qemu.abilities import running
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.monitor import Monitor
from culvert.drivers.qemu.run import ANNOUNCED, START_FAILED, UNANNOUNCED, Ending, Run
from culvert.drivers.qemu.state.status import Status
from culvert.ground import errors
from culvert.hypervisor.leaving import BOUND
from culvert.protocol.constants_event import AgentReason
from culvert.protocol.constants_state import DomainState, PausedReason, ShutoffReason, StoppedDetail

log = logging.getLogger(__name__)

FIRST_TIMEOUT = 10.0  # seconds the start of the daemon waits for one guest's monitor; all are asked at once
RETRY_PAUSE = 5.0  # seconds between later attempts
RETRY_TIMEOUT = 10.0  # seconds for each of them


async def adopt(domain: Domain, status: Status, definition: DomainDef) -> None:
    """Take over into ``domain``, which has none, the run that ``status`` and its live ``definition`` tell of."""
    runtime = Path(status.runtime)
    run = Run(status.id, definition, runtime, log_offset=status.log_offset, fake_reboot=status.fake_reboot)
    output = process.Output(domain.host.layout.log_file(domain.name), status.log_offset)
    run.started = True
    domain.host.note_id(status.id)
    domain.begin(run)
    domain.annotations = dict(status.annotations)
    domain.set_state(_known_state(status), status.reason)
    unseen = False
    if status.process is None:
        unseen = not await _quit_unwritten(domain, run)
    else:
        run.process = process.adopt(domain.name, status.process, output)
    if run.process is None:
        run.ending = _known_ending(status)
        if unseen:
            domain.host.strays[domain.uuid] = run.monitor_path
        else:
            log.warning("domain=%s id=%d ended while no daemon was there", domain.name, run.id)
        await domain.clear(run, keep_files=unseen)
        return
    await swtpm.find(run, domain.host.layout.tpm_log(domain.name))
    if run.tpm is not None:
        domain.host.spawn(swtpm.watch(domain.name, run), name=f"watch-tpm-{domain.name}")
    vnc.reserve(domain.host, run)
    await plugs.adopt(domain.host.networks, domain.owner, definition.devices.interfaces)
    domain.host.spawn(domain.supervise(run), name=f"supervise-{domain.name}")
    try:
        async with asyncio.timeout(FIRST_TIMEOUT):
            await _take_over(domain, run)
    except (TimeoutError, errors.RequestError) as err:
        log.warning("domain=%s pid=%d its monitor does not answer reason=%r", domain.name, run.process.pid, str(err))
        domain.host.spawn(_keep_trying(domain, run), name=f"reconnect-{domain.name}")


def _known_ending(status: Status) -> Ending:
    """How a guest has ended that nobody has seen end."""
    if status.ending is not None:
        with contextlib.suppress(ValueError):
            return Ending.of(*status.ending)
    unfinished = (status.state, status.reason) == (DomainState.PAUSED, PausedReason.STARTING_UP)
    if unfinished or status.process is None:
        return START_FAILED
    return ANNOUNCED if status.state == DomainState.SHUTDOWN else UNANNOUNCED


def _known_state(status: Status) -> DomainState:
    try:
        return DomainState(status.state)
    except ValueError:
        return DomainState.NOSTATE


async def _take_over(domain: Domain, run: Run) -> None:
    """Connect to the monitor and bring state up to date with what happened while nobody listened."""
    await launch.attach(domain, run)
    try:
        status = await _refresh_state(domain)
        if domain.state is DomainState.RUNNING:
            belongings.keep(domain.annotations)
        run.abilities = await running.ask(domain.monitor)
        await _refresh_channels(domain, run)
        await cpu_seen.learn(domain)
        await unplug.find_gone(domain, run)
    except BaseException:
        if run.monitor is not None:
            await run.monitor.close()
            run.monitor = None  # what greets and does not answer is tried again as well
        raise
    pid = run.process.pid if run.process else 0
    log.info("domain=%s pid=%d found again qemu_status=%s state=%s", domain.name, pid, status, domain.state.name)
    if domain.state is DomainState.PAUSED and domain.reason == PausedReason.STARTING_UP:
        # Whoever asked for it has heard that it failed (qemu/qemu_process.c, qemuProcessReconnect).
        log.warning("domain=%s pid=%d its start was not finished when the last daemon ended: ended", domain.name, pid)
        await domain.kill(START_FAILED.reason, START_FAILED.detail)
    elif BOUND in domain.annotations:
        log.warning("domain=%s pid=%d the connection it was bound to ended with the last daemon", domain.name, pid)
        await domain.kill(ShutoffReason.DESTROYED, StoppedDetail.DESTROYED)
    standing.found(domain, run)
    if domain.state is DomainState.SHUTDOWN and not run.shutdown_announced:
        run.shutdown_announced = True
        lifecycle.end_shutdown(domain, run, domain.definition.on_poweroff or lifecycle.DESTROY)


async def _refresh_state(domain: Domain) -> str:
    """Ask QEMU how the guest stands, correct what is known, without an event, and return QEMU's word for it."""
    run = domain.require_active()
    while True:
        before = run.heard
        answer = await domain.monitor.execute("query-status")
        if run.heard == before:  # else an event is newer than the answer
            break
    domain.set_state(*states.state_of(answer["status"], (domain.state, domain.reason)))
    return str(answer["status"])


async def _refresh_channels(domain: Domain, run: Run) -> None:
    """Which channels a program in the guest has open by now."""
    for entry in await domain.monitor.execute("query-chardev"):
        alias = str(entry["label"]).removeprefix("char")
        news.note_channel(domain, run, alias, connected=bool(entry["frontend-open"]), reason=AgentReason.UNKNOWN)


async def _keep_trying(domain: Domain, run: Run) -> None:
    assert run.process is not None
    while run.monitor is None and not run.process.exited.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_PAUSE):
                await run.process.exited.wait()
                return
        try:
            async with asyncio.timeout(RETRY_TIMEOUT):
                await _take_over(domain, run)
        except (TimeoutError, errors.RequestError) as err:
            log.debug("domain=%s its monitor still does not answer reason=%r", domain.name, str(err))


async def _quit_unwritten(domain: Domain, run: Run) -> bool:
    """The last daemon ended between starting QEMU and writing its pid down: whoever listens there is to end.

    False: somebody listens and does not answer; its pid is not known, so it runs on, and is known as a stray.
    """
    if not strays.lives(run.monitor_path):
        return True
    try:
        monitor = await Monitor.connect(run.monitor_path, domain.host, name=domain.name, timeout=FIRST_TIMEOUT)
        try:
            await monitor.execute("quit", timeout=FIRST_TIMEOUT)
        finally:
            await monitor.close()
    except errors.RequestError as err:
        if not strays.lives(run.monitor_path):
            return True  # it went with its answer
        log.error(
            "domain=%s monitor=%s is a QEMU that was being started when the last daemon ended, and does not answer: "
            "end it by its process; until then its domain cannot be started reason=%r",
            *(domain.name, run.monitor_path, str(err)),
        )
        return False
    log.warning("domain=%s id=%d was being started when the last daemon ended: ended", domain.name, run.id)
    return True
