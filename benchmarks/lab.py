"""Everything that measurements share: two hosts, certificates, and stages that are made when first needed."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import hosts
from benchmarks.emulator import Emulator
from benchmarks.hosts import Pair
from benchmarks.movers import STAGES
from benchmarks.stage import Ground, Stage
from guests import domain_xml, tiny, watch
from tests.support.pki import Pki

WARM_UP = tiny.TinyParameters(mib=8, dirty_mib=1, dirty_mib_s=1)


@dataclass(slots=True)
class Lab:
    """One run's hosts and stages. ``memory_mib`` of the guests; ``known``: what one measurement has found out for
    the others."""

    ground: Ground
    memory_mib: int
    known: dict[str, float] = field(default_factory=dict)
    _stages: dict[str, Stage] = field(default_factory=dict)
    _warm: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)
    _guests: int = 0

    @property
    def pair(self) -> Pair:
        """The two hosts."""
        return self.ground.pair

    def stage(self, name: str, warm: tuple[str, ...] = ()) -> Stage:
        """The stage ``name``, which has moved a small guest before, the way of ``warm``.

        So what is done once in a daemon's life is not measured.
        """
        if name not in self._stages:
            self._stages[name] = STAGES[name](self.ground)
        stage = self._stages[name]
        if (name, warm) not in self._warm:
            with self.guest(WARM_UP) as (guest, follow):
                stage.boot(guest)
                follow.wait_running()
                stage.move(guest, warm)
                stage.clear()
            self._warm.add((name, warm))
        return stage

    def drop(self, name: str) -> None:
        """End a stage that something has gone wrong on; the next use makes a new one."""
        self._warm = {each for each in self._warm if each[0] != name}
        stage = self._stages.pop(name, None)
        if stage is not None:
            stage.close()

    @contextmanager
    def guest(
        self, parameters: tiny.TinyParameters, name: str = "bench"
    ) -> Iterator[tuple[domain_xml.Guest, watch.SerialWatch]]:
        """A new guest's files and who follows it; it is not started. The files are gone afterwards."""
        self._guests += 1
        folder = self.ground.folder / f"g{self._guests}"
        folder.mkdir()
        try:
            guest = domain_xml.tiny_guest(folder, name, parameters)
            with watch.SerialWatch(guest.serial) as follow:
                yield guest, follow
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def logs(self, length: int = 20000) -> str:
        """The ends of all logs there are, of daemons and of QEMUs."""
        parts = []
        for path in sorted(self.ground.folder.glob("[ab]/**/*.log")):
            parts.append(
                f"--- {path.relative_to(self.ground.folder)}\n{path.read_text('utf-8', 'replace')[-length:]}"
            )
        return "\n".join(parts)

    def close(self) -> None:
        """End all stages."""
        with ExitStack() as stack:
            for stage in self._stages.values():
                stack.callback(stage.close)
            self._stages = {}


@contextmanager
def lab(memory_mib: int) -> Iterator[Lab]:
    """Two hosts and all that goes with them; afterwards nothing is left. Raises ``hosts.LabError``."""
    folder = Path(tempfile.mkdtemp(prefix="culvert-bench-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with hosts.pair(folder) as pair:
            pki = Pki(folder / "pki", f"bench-{uuid.uuid4().hex[:6]}")
            certificates = {host.name: pki.holder(f"bench-{host.name}", [host.address]) for host in pair}
            made = Lab(Ground(pair, Emulator(folder), certificates, folder), memory_mib)
            try:
                yield made
            finally:
                made.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
