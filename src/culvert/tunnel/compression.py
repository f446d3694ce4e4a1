"""Whether to compress, chosen anew each second from what was measured in the last one.

Compression pays when the network is what everybody waits for and the processor has time to spare: with a link of
``link`` bytes per second, blocks that shrink to ``ratio`` and a processor that compresses ``speed`` bytes per second,
QEMU's bytes move at min(speed, link / ratio) instead of at ``link``. ``MARGIN`` says how much better that has to be.

While it is off, a block is compressed now and then (and sent so): a sample. While it is on and the network is never
waited for any more, the link's rate is not known any more: every ``CHECK`` seconds it is off for one, to look.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from culvert.ground import errors

MODES = ("off", "auto", "on")

MARGIN = 1.25
WAITING = 0.4  # of the second spent waiting for the network: the link is the bottleneck
PATIENCE = 10  # seconds without a sample after one that said no
CHECK = 20


class Choice(Enum):
    OFF = "off"
    SAMPLE = "sample"  # off, but for the next block
    ON = "on"


@dataclass(frozen=True, slots=True)
class Sample:
    """Compressed over raw size, and raw bytes per second of processor time."""

    ratio: float
    speed: float


@dataclass(frozen=True, slots=True)
class Second:
    """What was measured. ``blocked`` and ``busy`` are fractions of ``seconds``: waiting for the network with bytes to
    send, and not waiting for anything. ``raw`` bytes of QEMU's went out as ``wire`` bytes."""

    seconds: float
    blocked: float
    busy: float
    raw: int
    wire: int
    sample: Sample | None = None


class Chooser:
    """``mode`` is one of ``MODES``, of which "off" and "on" are final; ``errors.InvalidArgument`` for others."""

    def __init__(self, mode: str) -> None:
        if mode not in MODES:
            raise errors.InvalidArgument(f"compression in the tunnel is one of {', '.join(MODES)}, not '{mode}'")
        self.mode = mode
        self.choice = Choice.ON if mode == "on" else Choice.OFF
        self._sample: Sample | None = None
        self._link = 0.0
        self._patience = 0
        self._unwaited = 0  # seconds on in which the network was not waited for

    def next(self, second: Second) -> Choice:
        """The choice for the second that begins."""
        if self.mode != "auto" or second.seconds <= 0:
            return self.choice
        self._sample = second.sample or self._sample
        waiting = second.blocked >= WAITING
        if waiting:
            self._link = second.wire / second.seconds
        self._patience = max(0, self._patience - 1)
        self.choice = self._on(second, waiting) if self.choice is Choice.ON else self._off(second, waiting)
        return self.choice

    def _off(self, second: Second, waiting: bool) -> Choice:
        if not waiting:
            return Choice.OFF
        if second.sample is None and self._patience:
            return Choice.OFF
        if self._sample is None or (second.sample is None and self.choice is not Choice.SAMPLE):
            return Choice.SAMPLE
        if self._pays(self._sample):
            self._unwaited = 0
            return Choice.ON
        return self._stop()

    def _on(self, second: Second, waiting: bool) -> Choice:
        if second.sample is None or self._sample is None:
            return Choice.ON  # nothing was sent
        if waiting:
            self._unwaited = 0
            return Choice.ON if self._pays(self._sample) else self._stop()
        if second.blocked + second.busy < 0.5:
            return Choice.ON  # QEMU has little to say; what it says is said in fewer bytes
        if second.raw / second.seconds < self._link:
            return self._stop()  # the link alone was faster
        self._unwaited += 1
        if self._unwaited >= CHECK:
            self._unwaited = 0
            return Choice.OFF
        return Choice.ON

    def _pays(self, sample: Sample) -> bool:
        return min(sample.speed, self._link / max(sample.ratio, 1e-6)) >= MARGIN * self._link

    def _stop(self) -> Choice:
        self._patience = PATIENCE
        return Choice.OFF
