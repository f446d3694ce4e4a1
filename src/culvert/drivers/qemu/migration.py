"""What QEMU does in a migration, as one object for each side; every fact is QEMU's own (qapi/migration.json).

Where one channel is enough, QEMU gets it as a descriptor over its monitor (``getfd``) and the ``fd:`` transport
(migration/fd.c): no port, no path, no helper process. Many channels need an address to connect to or to listen at
(migration/multifd.c): then it is a UNIX socket in the directory of the domain's run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Protocol

from culvert.drivers.qemu import migration_setup
from culvert.drivers.qemu.abilities.ability import Abilities, Ability
from culvert.drivers.qemu.migration_setup import DESTINATION_CAPABILITIES, SOURCE_CAPABILITIES
from culvert.drivers.qemu.migration_statistics import read_latency, read_statistics
from culvert.drivers.qemu.monitor import CommandRefused, Event, Monitor, MonitorGone
from culvert.drivers.qemu.run import Ending, Run
from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.hypervisor.contract import Guest
from culvert.hypervisor.latency import Latency
from culvert.hypervisor.rounds import RoundCount
from culvert.hypervisor.setup import Entrance, Setup
from culvert.hypervisor.statistics import Statistics
from culvert.hypervisor.status import KNOWN, PAUSED, POSTCOPY, SETTLED, UNLIMITED_SPEED
from culvert.protocol.constants_state import PausedReason, RunningReason, ShutoffReason

log = logging.getLogger(__name__)

SETTLE_TIMEOUT = 30 * 86400.0  # seconds; a migration is ended by its own deadlines, this one only bounds the wait
NOTICE_TIMEOUT = 1.0  # seconds for the end of a connection or of a process to be seen from here
EXIT_TIMEOUT = 5.0  # seconds for a QEMU that failed to load to say why, and to end where it does
PAUSE_TIMEOUT = 20.0  # seconds for QEMU to let go of the way of a post-copy that is broken
_SPEED = "migration.speed"  # annotation: MiB/s
_NOT_PAUSED = "when postcopy is paused"  # a refusal of migrate-recover (migration/migration.c)
_PAUSED_SOON = 0.05  # seconds until it is asked again
_ANNOUNCE = {"initial": 50, "max": 550, "rounds": 5, "step": 100}  # milliseconds, and how often
# Ends every socket of the migration (qapi/yank.json, since 6.0). "migrate-pause" does the same to a file that QEMU's
# own thread may be letting go of: a 7.2.22 whose way ended at that moment has died of it (SIGSEGV), and its guest.
_YANK = {"instances": [{"type": "migration"}]}
_ANNOUNCE_SECONDS = 1.0  # for QEMU to have begun with it


class QemuGuest(Guest, Protocol):
    """A guest that a QEMU runs: what is done here needs its monitor too."""

    @property
    def monitor(self) -> Monitor: ...

    @property
    def has_snapshots(self) -> int:
        """How many."""

    @property
    def ending(self) -> Ending | None: ...

    @property
    def exit_text(self) -> str: ...

    def require_active(self) -> Run: ...


async def set_speed(monitor: Monitor, bytes_per_second: int) -> None:
    """Limit the migration (also a running one); 0 and everything above ``UNLIMITED_SPEED`` mean no limit."""
    most = UNLIMITED_SPEED * MiB
    await monitor.execute("migrate-set-parameters", {"max-bandwidth": min(bytes_per_second or most, most)})


async def set_max_downtime(monitor: Monitor, milliseconds: int) -> None:
    """How long the guest may stand still at the end (``downtime-limit``), also of a running migration."""
    await monitor.execute("migrate-set-parameters", {"downtime-limit": milliseconds})


async def max_downtime(monitor: Monitor) -> int:
    """``downtime-limit`` in milliseconds."""
    return int((await monitor.execute("query-migrate-parameters"))["downtime-limit"])


def max_speed(domain: QemuGuest) -> int:
    """What ``keep_speed`` has kept for the domain's migrations, in MiB/s."""
    return int(domain.annotations.get(_SPEED, UNLIMITED_SPEED))


async def keep_speed(domain: QemuGuest, mib_per_second: int) -> None:
    """Limit every later migration of the running guest.

    Raises ``InvalidArgument`` for more than QEMU can hold, ``OperationInvalid`` when the guest does not run.
    """
    if mib_per_second > UNLIMITED_SPEED:
        raise errors.InvalidArgument(f"bandwidth must be less than {UNLIMITED_SPEED + 1}")
    domain.require_active()
    await domain.annotate(_SPEED, str(mib_per_second))


async def resume(domain: QemuGuest, reason: RunningReason) -> None:
    """Let a guest run that a migration has paused; state and event then say ``reason``."""
    run = domain.require_active()
    run.resume_reason = reason
    try:
        await domain.monitor.execute("cont")
    finally:
        run.resume_reason = None


async def announce(domain: QemuGuest) -> None:
    """Have QEMU tell the network where the guest's cards are now, several times (qapi/net.json, announce-self), as it
    does by itself when an incoming guest is complete (announce-* of MigrationParameters, with these defaults).

    That is before the guest may run: a hand-over that is called off then has told the wrong thing, and what the
    network sends in between is lost. What QEMU refuses is logged: the guest runs, and tells by itself when it sends.
    """
    try:
        await domain.monitor.execute("announce-self", _ANNOUNCE, timeout=_ANNOUNCE_SECONDS)
    except errors.RequestError as err:
        log.warning("domain '%s': its arrival could not be announced to the network: %s", domain.name, err)


async def process_gone(domain: QemuGuest, side: str, cause: Exception) -> errors.OperationFailed:
    """The error for a QEMU that ended in mid-migration: why it was ended, or how it did, with its last output."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(NOTICE_TIMEOUT):
            await domain.exited.wait()
    if (told := ended(domain, side)) is not None:
        return told
    output, how = (await domain.last_output()).strip(), f" ({domain.exit_text})" if domain.exit_text else ""
    return errors.OperationFailed(
        f"domain '{domain.name}': QEMU at the {side} ended during the migration{how}: {output or cause}"
    )


_ENDS = {
    ShutoffReason.SHUTDOWN: "has shut down",
    ShutoffReason.DESTROYED: "was destroyed",
    ShutoffReason.CRASHED: "has crashed",
}


def ended(domain: QemuGuest, side: str) -> errors.GuestEnded | None:
    """The error for a guest that has ended in mid-migration and not its QEMU, which only followed; else ``None``."""
    ending = domain.ending
    if ending is None or ending.reason not in _ENDS:
        return None
    where = "; it runs on neither side" if side == "source" else f" at the {side}"
    return errors.GuestEnded(f"domain '{domain.name}' {_ENDS[ending.reason]} during the migration{where}")


class _Migration:
    """What both sides share: the MIGRATION events from here on, all of them kept, and the waits for them."""

    side: ClassVar[str]

    def __init__(self, domain: QemuGuest) -> None:
        self.domain = domain
        self.monitor = domain.monitor
        self._heard_of: list[str] = []
        self._told = 0
        self._news = asyncio.Event()
        self._unsubscribe = self.monitor.subscribe(self._listen)

    def _listen(self, event: Event) -> None:
        if event["event"] != "MIGRATION":
            return
        status = str(event["data"].get("status", ""))
        if status not in KNOWN and status not in self._heard_of:
            log.warning(
                "domain '%s': QEMU at the %s says '%s' of its migration, which is not known here: it is waited on",
                *(self.domain.name, self.side, status),
            )
        if status == "setup" and self._heard_of and self._heard_of[-1] in POSTCOPY:
            return  # the destination's says so of every "migrate-recover", and stays in the status that it was in
        self._heard_of.append(status)
        self._news.set()

    def close(self) -> None:
        """Stop listening to QEMU's events. Idempotent."""
        self._unsubscribe()

    async def look(self) -> str:
        """The status now, in QEMU's word, ``none`` for no migration.

        QEMU is asked only when it has not said anything yet, as after a restart of the daemon; its answer then counts
        as said.
        """
        if not self._heard_of:
            status = str((await self.monitor.execute("query-migrate")).get("status", "none"))
            if not self._heard_of:
                self._heard_of.append(status)
                self._news.set()
        return self._heard_of[-1]

    @property
    def switched(self) -> bool:
        """Whether QEMU has said that it is in post-copy."""
        return not POSTCOPY.isdisjoint(self._heard_of)

    async def next_status(self, among: frozenset[str]) -> str:
        """The next status that is one of ``among``, in the order QEMU went through them; none is told twice.

        What QEMU said before this call and after the last one counts. Meant for one caller; ``settled`` takes nothing
        away from it. Raises ``OperationFailed`` with QEMU's last words when QEMU ends first.
        """

        def found() -> str:
            while self._told < len(self._heard_of):
                self._told += 1
                if (status := self._heard_of[self._told - 1]) in among:
                    return status
            return ""

        return await self._wait_for(found)

    async def settled(self) -> str:
        """Wait until the migration is completed, failed or cancelled, and say which; may be asked again.

        Raises ``OperationFailed`` with QEMU's last words when QEMU ends first.
        """
        return await self._wait_for(lambda: next((word for word in self._heard_of if word in SETTLED), ""))

    async def _wait_for(self, found: Callable[[], str]) -> str:
        if status := found():
            return status
        try:
            async with self.monitor.deadline(SETTLE_TIMEOUT, "event MIGRATION"):
                while not (status := found()):
                    self._news.clear()
                    await self._news.wait()
        except MonitorGone as err:
            raise await process_gone(self.domain, self.side, err) from err
        return status

    async def _paused(self) -> bool:
        """Have a post-copy stand still whose way is broken. False: there is nothing to take up, it has settled.

        Raises ``OperationInvalid`` when it is not in post-copy, ``OperationTimeout``.
        """
        async with self.monitor.deadline(PAUSE_TIMEOUT, "yank"):
            while (status := await self.look()) != PAUSED:
                if status in SETTLED:
                    return False
                if status not in POSTCOPY:
                    raise errors.OperationInvalid(
                        f"domain '{self.domain.name}': its migration is in status '{status}' and not in post-copy: "
                        "there is nothing to recover"
                    )
                self._news.clear()
                if status == "postcopy-active" and not await self._notices():
                    # It refuses when it has let go of its socket already: then it is about to say so by itself.
                    with contextlib.suppress(CommandRefused):
                        await self.monitor.execute("yank", _YANK, out_of_band=True)
                if self._heard_of[-1] == status:
                    await self._news.wait()
        return True

    async def _notices(self) -> bool:
        """Whether QEMU says something by itself soon, as it does of a way that has been ended for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NOTICE_TIMEOUT):
                await self._news.wait()
        return self._news.is_set()


class QemuOutgoing(_Migration):
    """One migration of ``domain`` out of this host."""

    side = "source"

    def __init__(self, domain: QemuGuest) -> None:
        super().__init__(domain)
        self.stopped_at: float | None = None
        """When the guest last stopped, on the monotonic clock; ``None`` while it has not."""
        self.synced_at: float | None = None
        """When QEMU knew what was left to send after that."""
        self.sent_at: float | None = None
        """When QEMU had sent all of it."""
        self._rounds = RoundCount()
        self.on_io_error: Callable[[str], None] = lambda device: None
        """Called with the device when a disk of the guest fails meanwhile."""
        self.on_sleep: Callable[[], None] = lambda: None
        """Called when the guest goes to sleep (S3) meanwhile."""
        self._unsubscribe_stop = self.monitor.subscribe(self._heard)

        # Until this is over, what QEMU does with the CPUs by itself is the migration's doing.
        self._run = domain.require_active()
        self._run.stop_reason = PausedReason.MIGRATION
        self._run.resume_reason = RunningReason.MIGRATION_CANCELED

    def close(self) -> None:
        super().close()
        self._unsubscribe_stop()
        self._run.stop_reason = self._run.resume_reason = None

    def _heard(self, event: Event) -> None:
        if event["event"] in ("STOP", "RESUME"):
            self.stopped_at = time.monotonic() if event["event"] == "STOP" else None
            self.synced_at = self.sent_at = None
        elif event["event"] == "MIGRATION_PASS" and self.stopped_at is not None and self.synced_at is None:
            self.synced_at = time.monotonic()
        elif event["event"] == "MIGRATION" and event["data"]["status"] == "completed":
            self.sent_at = time.monotonic()
        elif event["event"] == "SUSPEND":
            self.on_sleep()
        elif event["event"] == "BLOCK_IO_ERROR":
            self.on_io_error(str(event["data"].get("device", "")))

    async def start(self, entrance: Entrance, setup: Setup) -> None:
        """Begin to write the guest's state into ``entrance``; the caller closes its own copy of a socket.

        The limit is what ``set_speed`` has been told last. Raises ``OperationFailed`` with QEMU's words when it
        refuses.
        """
        await migration_setup.tell(self.monitor, setup, SOURCE_CAPABILITIES)
        await self.monitor.execute("migrate", await self._way(entrance))

    async def switch_to_postcopy(self) -> None:
        """Let QEMU stop the guest here and go on in post-copy as soon as it can.

        It does so after the round of pre-copy that it is in has begun; the first ``postcopy-active`` of
        ``next_status`` says that it has. From then on the copy here cannot run any more. Raises ``OperationFailed``
        with QEMU's words where post-copy was not allowed by ``start``'s setup, or nothing is being sent.
        """
        await self.monitor.execute("migrate-start-postcopy")

    async def recover(self, entrance: Entrance) -> bool:
        """Take up a post-copy whose way is broken, by a new way; the caller closes its own copy of a socket.

        The destination's QEMU must be expecting it (``QemuIncoming.recover``). A QEMU that has not noticed the break
        is told. On return QEMU begins to connect: ``next_status`` says ``postcopy-recover``, ``postcopy-active``, or
        ``postcopy-paused`` when this way breaks too. False: nothing was done, because it is settled already.
        Raises ``OperationInvalid`` when it is not in post-copy, ``OperationFailed`` with QEMU's words,
        ``OperationTimeout``.
        """
        if not await self._paused():
            return False
        way = await self._way(entrance)
        # What it has said up to here, the pause above all, is about the way before.
        self._told = len(self._heard_of)
        await self.monitor.execute("migrate", {**way, "resume": True})
        return True

    async def _way(self, entrance: Entrance) -> dict[str, Any]:
        structured = Ability.MIGRATE_CHANNELS in self._run.abilities
        return await migration_setup.address(self.monitor, entrance, channels=structured)

    async def cancel(self) -> None:
        """Ask QEMU to give up; ``settled`` says when it has. Harmless when there is nothing to cancel."""
        await self.monitor.execute("migrate_cancel")

    async def statistics(self) -> Statistics:
        """How far it is; its rounds are counted here (``hypervisor.rounds``)."""
        told = read_statistics(await self.monitor.execute("query-migrate"))
        return replace(told, dirty_sync_count=self._rounds.feed(told))


class QemuIncoming(_Migration):
    """The migration that a QEMU started with ``-incoming defer`` waits for.

    In post-copy ``postcopy-active`` means that the CPUs may be started: with ``-S`` they are not by themselves. A
    ``cont`` that comes even before that is kept by QEMU until they can run (softmmu/runstate.c, migration/savevm.c);
    so libvirt's Finish comes as soon as the source is in ``postcopy-active``. ``completed`` comes when the last page
    is there.
    """

    side = "destination"

    def __init__(self, domain: QemuGuest) -> None:
        super().__init__(domain)
        self._why: errors.OperationFailed | None = None

    @property
    def _abilities(self) -> Abilities:
        return self.domain.require_active().abilities

    @property
    def _stays(self) -> bool:
        """Whether a QEMU that cannot load what comes says why when it is asked (from 9.1 on), and does not end."""
        return Ability.INCOMING_EXIT_ON_ERROR in self._abilities

    async def prepare(self, setup: Setup, *, continued: bool) -> None:
        """Tell QEMU what ``start`` will need, so that it refuses now what it cannot do.

        Raises ``OperationUnsupported`` naming it; for post-copy with what the host lacks.
        """
        on = DESTINATION_CAPABILITIES if continued else DESTINATION_CAPABILITIES - {"late-block-activate"}
        if setup.postcopy and Ability.POSTCOPY_LATENCY in self._abilities:
            on |= {"postcopy-blocktime"}
        await migration_setup.tell(self.monitor, setup.for_destination(), on)

    async def start(self, entrance: Entrance, setup: Setup, *, continued: bool) -> None:
        """Let QEMU read the guest's state from ``entrance``; the caller closes its own copy of a socket.

        ``continued``: the guest will run at the end. Then its disks are activated only by ``cont``; a guest that
        stays paused gets them at once, because a QEMU with inactive disks aborts when it is migrated again
        (seen with 7.2.22 in bdrv_inactivate_recurse). In post-copy they are activated as soon as the CPUs may start.
        """
        await self.prepare(setup, continued=continued)
        structured = Ability.INCOMING_CHANNELS in self._abilities
        arguments = await migration_setup.address(self.monitor, entrance, channels=structured)
        if self._stays:
            arguments["exit-on-error"] = False
        await self.monitor.execute("migrate-incoming", arguments)

    async def recover(self, entrance: Entrance) -> bool:
        """Expect the rest of a post-copy at ``entrance`` after its way broke; the caller closes its own copy.

        A QEMU that has not noticed the break is told. May be asked again: a way that nobody has come by is given up
        for the new one. A path works also while QEMU's main thread hangs in a page that is missing, as it does when
        a device reads one; a socket does not, for it has to be handed over first (``getfd`` is no command for then).
        False: nothing was done, because everything is here. Raises as ``QemuOutgoing.recover``.
        """
        if not await self._paused():
            return False
        uri = await migration_setup.uri(self.monitor, entrance)  # migrate-recover takes nothing else, up to 11.1
        async with self.monitor.deadline(PAUSE_TIMEOUT, "migrate-recover"):
            while await self._paused():
                try:
                    await self.monitor.execute("migrate-recover", {"uri": uri}, out_of_band=True)
                except CommandRefused as err:
                    if _NOT_PAUSED not in str(err):
                        raise
                    # The way before has been taken up, and its events have yet to say what became of it.
                    await asyncio.sleep(_PAUSED_SOON)
                else:
                    return True
        return False

    async def failed(self) -> bool:
        """Whether QEMU could not load what came, or has ended; waits ``NOTICE_TIMEOUT`` for it to notice."""
        try:
            async with asyncio.timeout(NOTICE_TIMEOUT):
                return await self.settled() != "completed"
        except TimeoutError:
            return False
        except errors.OperationFailed:
            return True

    async def loaded(self) -> None:
        """Wait until the whole state is loaded; may be asked again.

        Raises ``OperationFailed`` with QEMU's words when it could not load it, or ended.
        """
        if await self.settled() != "completed":
            raise await self.why(EOFError("no more output"))

    async def latency(self) -> Latency | None:
        """What QEMU has counted of the pages that the guest has waited for."""
        return read_latency(await self.monitor.execute("query-migrate"))

    async def why(self, seen: Exception) -> errors.OperationFailed:
        """Why it could not load what came, or has ended: QEMU's words, ``seen`` where it has none.

        May be asked again. A QEMU that ends by that gets ``EXIT_TIMEOUT`` for it: it writes the reason before.
        """
        if self._why is None:
            self._why = await self._said(seen)
        return self._why

    async def _said(self, seen: Exception) -> errors.OperationFailed:
        if not self.domain.exited.is_set() and self._stays:
            with contextlib.suppress(TimeoutError, errors.RequestError):
                async with asyncio.timeout(EXIT_TIMEOUT):
                    if await self.settled() != "completed":
                        return await self._asked()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXIT_TIMEOUT):
                await self.domain.exited.wait()
        return await process_gone(self.domain, self.side, seen)

    async def _asked(self) -> errors.OperationFailed:
        said = str((await self.monitor.execute("query-migrate")).get("error-desc", ""))
        output = (await self.domain.last_output()).strip()
        words = ": ".join(word for word in (said, output if output not in said else "") if word)
        return errors.OperationFailed(
            f"domain '{self.domain.name}': QEMU at the destination could not load the migration: {words}"
        )
