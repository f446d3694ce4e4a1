"""What QEMU's events do to a domain: a table from the event's name to what follows.

QEMU runs with ``-no-shutdown``: a guest that powers off stays, stopped, until it is decided here what comes next.
Which actions QEMU itself takes is set at start (``ACTIONS``), so that every end is announced before it happens.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from culvert.drivers.qemu import belongings, states
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.monitor import Event
from culvert.drivers.qemu.run import Run
from culvert.ground import errors
from culvert.protocol.constants_state import (
    CrashedDetail,
    CrashedReason,
    DomainEvent,
    DomainState,
    PausedReason,
    PMSuspendedDetail,
    PMSuspendedReason,
    RunningReason,
    ShutdownDetail,
    ShutdownReason,
    ShutoffReason,
    StartedDetail,
    StoppedDetail,
)

log = logging.getLogger(__name__)

DESTROY, RESTART, RENAME_RESTART, PRESERVE = "destroy", "restart", "rename-restart", "preserve"


GUEST_GONE = frozenset({ShutoffReason.MIGRATED, ShutoffReason.SAVED, ShutoffReason.FAILED})


def actions(on_reboot: str) -> dict[str, str]:
    """Arguments of QMP ``set-action`` (qapi/run-state.json): what QEMU does by itself."""
    return {
        "reboot": "shutdown" if on_reboot == DESTROY else "reset",
        "shutdown": "pause",
        "panic": "pause",
    }


def handle(domain: Domain, run: Run, event: Event) -> None:
    """Follow one event of the monitor of ``run``."""
    handler = HANDLERS.get(event["event"])
    if handler is not None and domain.run is run:
        log.debug("domain=%s qemu_event=%s data=%r", domain.name, event["event"], event.get("data"))
        run.heard += 1
        handler(domain, run, event.get("data", {}))


def _stop(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    # A guest that shuts down or has crashed is also stopped; that it does is no news.
    if domain.state is DomainState.RUNNING:
        cause = run.stop_reason if run.stop_cause is None else run.stop_cause
        reason = PausedReason.UNKNOWN if cause is None else cause
        domain.set_state(DomainState.PAUSED, reason, states.suspended(reason))
    run.stop_cause = None


def _resume(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    reason = RunningReason.UNPAUSED if run.resume_reason is None else run.resume_reason
    run.resume_reason = None
    belongings.keep(domain.annotations)
    if domain.state is not DomainState.RUNNING:
        domain.set_state(DomainState.RUNNING, reason, states.resumed(reason))


def _shutdown(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    if run.shutdown_announced:
        return
    run.shutdown_announced = True
    cause = str(data.get("reason", ""))
    detail = ShutdownDetail.GUEST if data.get("guest") else ShutdownDetail.HOST
    # A QEMU whose guest has gone to another host or into a file, or never came, does not shut it down by ending.
    gone = run.ending is not None and run.ending.reason in GUEST_GONE
    event = None if gone else (DomainEvent.SHUTDOWN, detail)
    domain.set_state(DomainState.SHUTDOWN, ShutdownReason.UNKNOWN, event)
    # A signal, or quit on the monitor: QEMU ends by itself, or is already being ended.
    if run.ending is not None or cause in ("host-signal", "host-qmp-quit", "host-error"):
        return
    end_shutdown(domain, run, DESTROY if cause == "guest-reset" else domain.definition.on_poweroff or DESTROY)


def end_shutdown(domain: Domain, run: Run, action: str) -> None:
    """The guest has powered off and QEMU stands still: end it, or boot it again."""
    if run.fake_reboot or action in (RESTART, RENAME_RESTART):
        _follow(domain, "reboot", lambda: _reboot(domain, run, RunningReason.UNPAUSED))
    else:
        _follow(domain, "end", lambda: domain.kill(ShutoffReason.SHUTDOWN, StoppedDetail.SHUTDOWN))


def _panicked(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    action = domain.definition.on_crash or DESTROY
    crashed = (DomainEvent.CRASHED, CrashedDetail.PANICKED)
    domain.set_state(DomainState.CRASHED, CrashedReason.PANICKED, crashed if action == PRESERVE else None)
    if action in (RESTART, RENAME_RESTART):
        _follow(domain, "restart", lambda: _reboot(domain, run, RunningReason.CRASHED))
    elif action != PRESERVE:
        _follow(domain, "end", lambda: domain.kill(ShutoffReason.CRASHED, StoppedDetail.CRASHED))


def _watchdog(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    if data.get("action") == "pause":
        run.stop_cause = PausedReason.WATCHDOG


def _io_error(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    log.warning("domain=%s device=%s I/O error action=%s", domain.name, data.get("device"), data.get("action"))
    if data.get("action") == "stop":
        run.stop_cause = PausedReason.IOERROR


def _suspend(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    if domain.state is DomainState.RUNNING:
        event = (DomainEvent.PMSUSPENDED, PMSuspendedDetail.MEMORY)
        domain.set_state(DomainState.PMSUSPENDED, PMSuspendedReason.UNKNOWN, event)


def _wakeup(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    if domain.state is DomainState.PMSUSPENDED:
        event = (DomainEvent.STARTED, StartedDetail.WAKEUP)
        domain.set_state(DomainState.RUNNING, RunningReason.WAKEUP, event)


HANDLERS: dict[str, Callable[[Domain, Run, dict[str, Any]], None]] = {
    "SHUTDOWN": _shutdown,
    "STOP": _stop,
    "RESUME": _resume,
    "SUSPEND": _suspend,
    "WAKEUP": _wakeup,
    "GUEST_PANICKED": _panicked,
    "WATCHDOG": _watchdog,
    "BLOCK_IO_ERROR": _io_error,
}


async def _reboot(domain: Domain, run: Run, reason: RunningReason) -> None:
    """Boot a guest again that has powered off: what libvirt calls a fake reboot."""
    monitor = domain.monitor
    run.fake_reboot = False
    run.shutdown_announced = False
    await monitor.execute("system_reset")
    run.resume_reason = reason
    await monitor.execute("cont")


def _follow(domain: Domain, what: str, act: Callable[[], Awaitable[None]]) -> None:
    async def acting() -> None:
        try:
            await act()
        except errors.RequestError as err:
            log.error("domain=%s cannot %s after the guest has stopped reason=%r", domain.name, what, err.message)

    domain.host.spawn(acting(), name=f"{what}-{domain.name}")
