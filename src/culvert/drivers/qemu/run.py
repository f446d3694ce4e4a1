"""One run of a domain: the process, its monitor, and what was learnt from it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

from culvert.domain import format as xml_format
from culvert.domain.cpu import Cpu
from culvert.domain.definition import DomainDef
from culvert.drivers.qemu import last_words
from culvert.drivers.qemu.abilities.ability import NONE, Abilities
from culvert.drivers.qemu.monitor import Monitor
from culvert.drivers.qemu.process import Process
from culvert.io import apart
from culvert.protocol.constants_state import ShutoffReason, StoppedDetail

MONITOR_SOCKET = "monitor.sock"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a run ends: what GET_STATE will say, and the detail of the STOPPED event (``None``: no event)."""

    reason: ShutoffReason
    detail: StoppedDetail | None

    @property
    def numbers(self) -> tuple[int, int | None]:
        """As the status file has it."""
        return int(self.reason), None if self.detail is None else int(self.detail)

    @classmethod
    def of(cls, reason: int, detail: int | None) -> Ending:
        """What ``numbers`` says. Raises ``ValueError`` for other numbers."""
        return cls(ShutoffReason(reason), None if detail is None else StoppedDetail(detail))


# qemu/qemu_process.c, qemuProcessHandleMonitorEOF: an end that was announced is a shutdown, any other a crash.
ANNOUNCED = Ending(ShutoffReason.SHUTDOWN, StoppedDetail.SHUTDOWN)
UNANNOUNCED = Ending(ShutoffReason.CRASHED, StoppedDetail.FAILED)
START_FAILED = Ending(ShutoffReason.FAILED, None)


@dataclass(slots=True)
class Run:
    """Lives from before the process is started until everything of it is gone; ``gone`` is set then.

    ``stop_reason`` is what every STOP of QEMU is put down to while it is set, because we are the cause;
    ``stop_cause`` is what QEMU itself has named as the cause of the STOP that follows, and counts for more.
    ``resume_reason`` is what the next RESUME is put down to, and is then forgotten. ``started``: the start has
    succeeded, from here on an end is news. ``heard`` counts QEMU's events that may have changed the state.
    """

    id: int
    definition: DomainDef
    runtime: Path
    process: Process | None = None
    spice_subject: str = ""
    """Of the certificate that its SPICE server shows."""
    viewers_sent: bool = False
    """Those who look at the guest have been told to go where it goes."""
    monitor: Monitor | None = None
    log_offset: int = 0
    started: bool = False
    ending: Ending | None = None
    shutdown_announced: bool = False
    killing: bool = False
    concluding: bool = False
    fake_reboot: bool = False
    heard: int = 0
    stop_reason: int | None = None
    stop_cause: int | None = None
    resume_reason: int | None = None
    cpu: Cpu | None = None
    """The processor that QEMU has given the guest, where it has said so (``cpu_seen``)."""
    abilities: Abilities = NONE
    """What its QEMU has said that it can be told, when its monitor was connected."""
    tpm: Process | None = None
    """The emulator of the guest's TPM."""
    vnc_ports: frozenset[int] = frozenset()
    """Those of ``QemuHost.vnc_ports`` that are kept for it."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    unplugging: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    """Alias of a device that is being plugged out → done when all of it is gone; the guest's refusal is its error."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Alias of a card → the address that the guest has given it, once it has given it one."""
    _written: tuple[DomainDef, str] | None = None

    @property
    def xml(self) -> str:
        """The definition with its secrets, for the status file, which is written far more often than this changes."""
        if self._written is None or self._written[0] is not self.definition:
            self._written = self.definition, xml_format.format(self.definition, secure=True, status=True)
        return self._written[1]

    async def write_xml(self) -> None:
        """Have ``xml`` ready, made beside the loop."""
        definition = self.definition
        if self._written is None or self._written[0] is not definition:
            self._written = definition, await apart.run(xml_format.format, definition, secure=True, status=True)

    @property
    def natural_ending(self) -> Ending:
        """What an end is that nobody has asked for."""
        if not self.started:
            return START_FAILED
        return ANNOUNCED if self.shutdown_announced else UNANNOUNCED

    @property
    def monitor_path(self) -> Path:
        return self.runtime / MONITOR_SOCKET

    async def last_output(self) -> str:
        """The tail of what QEMU has said in this run."""
        return last_words.told(await self.process.output.tail(), os.getpid()) if self.process else ""
