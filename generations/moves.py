"""Cells in which a guest moves from one generation to another and back: two daemons, each in its root."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from generations.plan import Cell, Kind, Way, Word
from generations.roots import Root
from generations.table import Came
from guests.cache import BuildFailed
from guests.report import GuestFault
from tests.support import interop
from tests.support.daemon import DaemonFailed, DaemonProcess, remove_folder, short_folder
from tests.support.guest import RunningGuest, running_tiny
from tests.support.history import told
from tests.support.libvirtd import Libvirtd
from tests.support.pki import Holder, Pki
from tests.support.virsh import ENVIRONMENT

DEADLINE = 120  # seconds for a migration of a guest of 16 MiB
# A step at which nothing has been sent yet; what goes wrong there is a refusal.
_BEFORE = re.compile(r"failed in phase '(begin3|prepare3?)'")
_PHASE = re.compile(r"failed in phase '")
_FAULTS = (AssertionError, DaemonFailed, GuestFault, BuildFailed, subprocess.TimeoutExpired)


class Refused(Exception):
    """A migration has failed; the text is what its client said."""


def run(cell: Cell, root_of: Mapping[str, Root], log: Path) -> Came:
    """Move the guest; where it fails, what both daemons have to say is in ``log``."""
    folder = short_folder()
    try:
        if cell.kind is Kind.PAIR:
            return _pair(cell, root_of, folder)
        return _stock(cell, root_of, folder)
    except _FAULTS as err:
        log.write_text(f"{err}\n", encoding="utf-8")
        return Came(Word.FAILED, _first_line(str(err)))
    finally:
        remove_folder(folder)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


# -- two culverts ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class End:
    """A culvert of a generation; ``folder``: what both ends see; ``holder``: whose certificates a client shows."""

    daemon: DaemonProcess
    root: Root
    folder: Path
    holder: Holder | None

    @property
    def where(self) -> str:
        """How the other one reaches it."""
        return self.daemon.tls_uri(pkipath=self.holder.folder) if self.holder else self.daemon.tcp_uri

    def migrate(self, way: Way, name: str, where: str) -> None:
        """Let its own client move the guest ``name`` to ``where``. Raises ``Refused``."""
        client = (str(self.root.clone / ".venv" / "bin" / "culvert"),) if way.culvert else ("virsh",)
        done = subprocess.run(
            [*self.root.words(self.folder), *client, "-c", self.daemon.uri, "migrate", *way.options, name, where],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        if done.returncode:
            raise Refused(done.stderr.strip() or done.stdout.strip())


def _pair(cell: Cell, root_of: Mapping[str, Root], folder: Path) -> Came:
    way = cell.way
    pki = Pki(folder / "pki") if way.tls else None
    with (
        _culvertd(folder, "a", root_of[cell.first], way, pki) as a,
        _culvertd(folder, "b", root_of[cell.second], way, pki) as b,
        running_tiny(a.daemon, folder, machine=cell.machine) as guest,
    ):
        try:
            for source, destination in ((a, b), (b, a)):
                try:
                    source.migrate(way, guest.name, destination.where)
                except Refused as err:
                    return _refused(str(err), guest, source.daemon, destination.daemon)
                _check(way, guest, source.daemon, destination.daemon)
        except _FAULTS as err:
            raise AssertionError(f"{err}\n{a.daemon.log_tail()}\n{b.daemon.log_tail()}") from err
    return Came(Word.OK, "")


@contextmanager
def _culvertd(folder: Path, name: str, root: Root, way: Way, pki: Pki | None) -> Iterator[End]:
    """The culvert of ``root``, running there, set for ``way``."""
    config = "" if way.route == "auto" else f'[migration]\nroute = "{way.route}"\n'
    holder = pki.holder(name) if pki else None
    place = folder / name
    place.mkdir()
    with DaemonProcess(
        place,
        name=f"{name}-{root.generation.key}",
        config=config + (holder.config() if holder else ""),
        tls=holder is not None,
        within=root.words(folder),
        program=(str(root.clone / ".venv" / "bin" / "python"), "-m", "culvert.daemon.main"),
        guarded=False,
    ) as daemon:
        yield End(daemon, root, folder, holder)


def _check(way: Way, guest: RunningGuest, source: DaemonProcess, destination: DaemonProcess) -> None:
    """It has moved by ``way``, whole, and nothing of it has stayed. Raises ``AssertionError``."""
    guest.assert_runs_only_on(destination, source)
    source.assert_no_leftovers()
    said = told(source)
    if way.route != "auto":
        assert said.route == way.route, f"it went by route {said.route}, not {way.route}"
    if way.channels:
        assert said.channels == way.channels, f"it had {said.channels} channels, not {way.channels}"
    if way.switches:
        assert "postcopy" in said.steps, f"it did not go over to post-copy: {said.steps}"
    for host in (source, destination):
        assert "Traceback" not in host.log, f"there is a traceback in the log of {host.name}"


def _refused(text: str, guest: RunningGuest, source: DaemonProcess, destination: DaemonProcess) -> Came:
    guest.assert_runs_only_on(source, destination)
    destination.assert_no_leftovers()
    begun = _PHASE.search(text) and not _BEFORE.search(text)
    return Came(Word.FAILED if begun else Word.REFUSED, _told(text))


def _told(text: str) -> str:
    """What a client says of a failure, in one line: the last that begins with ``error:``."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["(nothing)"])[-1]


# -- a culvert and a libvirtd ----------------------------------------------------------------------------------------


def _stock(cell: Cell, root_of: Mapping[str, Root], folder: Path) -> Came:
    """``interop.Pair`` with the culvert of the first generation and the libvirtd of the second."""
    pki = Pki(folder / "pki")
    holders = {name: pki.holder(name) for name in ("culvert", "libvirt")}
    root = root_of[cell.first]
    (folder / "c").mkdir()
    with (
        DaemonProcess(
            folder / "c",
            name="culvert",
            config=holders["culvert"].config(),
            tls=True,
            within=root.words(folder),
            program=(str(root.clone / ".venv" / "bin" / "python"), "-m", "culvert.daemon.main"),
            guarded=False,
        ) as culvert,
        Libvirtd(
            folder / "l",
            name="libvirt",
            tls=holders["libvirt"],
            qemu_config=interop.MIGRATION_HOST,
            within=root_of[cell.second].words(folder),
        ) as stock,
    ):
        pair = interop.Pair(culvert, stock, holders)
        with interop.running(culvert, folder, parameters=interop.DIRTYING, machine=cell.machine) as guest:
            hosts: tuple[interop.Either, ...] = (culvert, stock)
            try:
                for source in hosts:
                    result = pair.migrate(guest, source, *cell.way.options)
                    assert result.ok, f"from {source.name}: {_told(result.err)}"
                    guest.assert_runs_only_on(pair.other(source), source)
                    source.assert_no_leftovers()
            except _FAULTS as err:
                raise AssertionError(f"{err}\n{pair.log_tail()}") from err
    return Came(Word.OK, "")
