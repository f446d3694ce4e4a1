"""What an emulator can do, asked of itself once and remembered as long as its file does not change."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import socket
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from culvert.domain.defaults import MACHINE_FAMILIES
from culvert.drivers.qemu import process
from culvert.drivers.qemu.abilities import ability
from culvert.drivers.qemu.abilities.ability import Abilities, Ability
from culvert.drivers.qemu.monitor import CommandRefused, Monitor
from culvert.ground import errors
from culvert.io import apart, blocking, files, unix_sockets

log = logging.getLogger(__name__)

FORMAT = 8  # of the remembered text
VERSIONED = re.compile(r"-v\d+$")  # the name of one version of a CPU model
ARCHES = {"i386": "i686"}  # QEMU's word → libvirt's, where they differ
PROBE = "probe-"  # what the folder of a probe is called, with something random behind it
PROBE_TIMEOUT = 30.0  # seconds for the probed process to answer everything
END_TIMEOUT = 5.0  # seconds for it to end by itself


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine type; ``alias`` is the short name that stands for it ("pc"), empty if none."""

    name: str
    alias: str
    max_cpus: int
    default: bool
    deprecated: bool = False


@dataclass(frozen=True, slots=True)
class Machines:
    """An emulator: ``version`` as libvirt counts (7.2.22 is 7002022), its machine types, its CPU models.

    ``blockers``: CPU model → what it needs and emulation (TCG) does not have; models that lack nothing are left out.
    """

    emulator: str
    version: int
    machines: tuple[Machine, ...]
    cpu_models: tuple[str, ...]
    kvm: bool
    blockers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    features: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """CPU model, without those of single versions → its features, as QEMU spells them; "max" is all it emulates."""
    abilities: Abilities = ability.NONE
    arch: str = "x86_64"
    """What it emulates, in libvirt's words: x86_64, or i686."""
    deprecated_models: tuple[str, ...] = ()
    """CPU models that a later QEMU will not have."""

    @property
    def aliases(self) -> dict[str, str]:
        """Short machine name → the versioned one it stands for."""
        return {machine.alias: machine.name for machine in self.machines if machine.alias}

    @property
    def offered(self) -> tuple[Machine, ...]:
        """The machine types that a definition may name, the one used when it names none first: clients take that."""
        fit = (machine for machine in self.machines if machine.name.startswith(MACHINE_FAMILIES))
        return tuple(sorted(fit, key=lambda machine: not machine.default))

    @property
    def default_machine(self) -> str:
        """The versioned name of the machine type used when the XML names none."""
        return next((machine.name for machine in self.machines if machine.default), "")


Stamp = dict[str, Any]
"""Which file it is that was asked, and in which form what it said is remembered."""


def stamp(emulator: str) -> Stamp:
    """Looks at files: call it in a thread. Raises ``errors.SystemCallError`` when the emulator is not there."""
    try:
        about = os.stat(emulator)
    except OSError as err:
        raise errors.SystemCallError(
            f"emulator '{emulator}' cannot be used: {err.strerror}", errno=err.errno
        ) from err
    return {
        "format": FORMAT,
        "path": emulator,
        "kvm": os.access("/dev/kvm", os.R_OK | os.W_OK),
        "mtime_ns": about.st_mtime_ns,
        "size": about.st_size,
        "inode": about.st_ino,
    }


async def probe(emulator: str, cache: Path) -> Machines:
    """Ask ``emulator``, or take what ``cache`` (a directory) remembers of this very file.

    Raises ``errors.SystemCallError`` when it is not there, ``errors.OperationFailed`` when it does not answer, and
    ``errors.OperationTimeout`` when it has not within ``PROBE_TIMEOUT``.
    """
    asked = await asyncio.to_thread(stamp, emulator)
    remembered = cache / f"capabilities{emulator.replace('/', '-')}.json"
    found = await asyncio.to_thread(_recall, remembered, asked)
    if found is None:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                found = await _ask_twice(emulator, cache, kvm=asked["kvm"])
        except TimeoutError as err:
            raise errors.OperationTimeout(
                f"emulator '{emulator}' does not tell what it can do: no answer within {PROBE_TIMEOUT:g} s"
            ) from err
        text = json.dumps({"stamp": asked, "found": asdict(found)}, indent=1, default=sorted)
        await asyncio.to_thread(files.write_atomically, remembered, text)
    return found


async def _ask_twice(emulator: str, cache: Path, *, kvm: bool) -> Machines:
    try:
        return await _ask(emulator, cache, kvm=kvm)
    except errors.OperationFailed as err:
        # QEMU's main thread and its monitor thread both read the first bytes, once in some thousand starts, and
        # a command arrives with a letter missing (seen with 7.2.22).
        log.warning("emulator=%s is asked once more reason=%r", emulator, err.message)
        return await _ask(emulator, cache, kvm=kvm)


def _recall(path: Path, stamp: dict[str, Any]) -> Machines | None:
    try:
        remembered = json.loads(path.read_text())
        if remembered["stamp"] != stamp:
            return None
        found = remembered["found"]
        return Machines(
            emulator=found["emulator"],
            version=found["version"],
            machines=tuple(Machine(**machine) for machine in found["machines"]),
            cpu_models=tuple(found["cpu_models"]),
            kvm=found["kvm"],
            arch=found["arch"],
            blockers={name: tuple(missing) for name, missing in found["blockers"].items()},
            features={name: tuple(features) for name, features in found["features"].items()},
            deprecated_models=tuple(found["deprecated_models"]),
            abilities=Abilities(
                flags=frozenset(map(Ability, found["abilities"]["flags"])),
                devices=frozenset(found["abilities"]["devices"]),
            ),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is only a memory: ask again


def sweep(cache: Path) -> None:
    """Remove the folders of probes that ended with their daemon, while none is under way."""
    for path in cache.glob(f"{PROBE}*"):
        shutil.rmtree(path, ignore_errors=True)


async def _ask(emulator: str, cache: Path, *, kvm: bool) -> Machines:
    place = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=PROBE, dir=cache))
    try:
        answer = await _ask_in(place, emulator, kvm=kvm)
    finally:
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
    if isinstance(answer, errors.RequestError):
        raise errors.OperationFailed(f"emulator '{emulator}' does not tell what it can do: {answer}") from answer
    return answer


async def _ask_in(place: Path, emulator: str, *, kvm: bool) -> Machines | errors.RequestError:
    path = place / "monitor.sock"
    with await blocking.made(lambda: unix_sockets.listen(path), undo=socket.socket.close) as listener:
        chardev = f"socket,id=monitor,fd={listener.fileno()},server=on,wait=off"
        argv = [
            *(emulator, "-S", "-no-user-config", "-nodefaults", "-display", "none"),
            # Not KVM: a host whose KVM is there but does not work would hang here, before any guest asked for it.
            *("-machine", "none,accel=tcg"),
            *("-chardev", chardev, "-mon", "chardev=monitor,mode=control"),
        ]
        running = await process.launch(
            "probe", argv, log_file=place / "log", folder=place, pass_fds=[listener.fileno()]
        )
    try:
        # The error must leave the group as itself, not wrapped.
        async with asyncio.TaskGroup() as tasks:
            return await _answer(emulator, path, running, tasks, kvm=kvm)
    finally:
        await running.terminate(force_after=END_TIMEOUT)


async def _answer(
    emulator: str, path: Path, running: process.Process, tasks: asyncio.TaskGroup, *, kvm: bool
) -> Machines | errors.RequestError:
    try:
        monitor = await Monitor.connect(
            path, tasks, name="probe", last_output=running.output.tail, timeout=PROBE_TIMEOUT, ended=running.exited
        )
        try:
            return await _answers(emulator, monitor, kvm=kvm)
        except (LookupError, TypeError, ValueError, AttributeError) as err:
            return errors.OperationFailed(f"it answers as no QEMU does ({type(err).__name__}: {err})")
        finally:
            await monitor.close()
    except errors.RequestError as err:
        return err


async def _answers(emulator: str, monitor: Monitor, *, kvm: bool) -> Machines:
    version = (await monitor.execute("query-version"))["qemu"]
    target = str((await monitor.execute("query-target"))["arch"])
    machines = await monitor.execute("query-machines")
    models = await monitor.execute("query-cpu-definitions")
    names = [str(model["name"]) for model in models]
    return Machines(
        emulator=emulator,
        version=version["major"] * 1_000_000 + version["minor"] * 1_000 + version["micro"],
        machines=tuple(
            Machine(
                name=machine["name"],
                alias=machine.get("alias", ""),
                max_cpus=machine["cpu-max"],
                default=machine.get("is-default", False),
                deprecated=machine.get("deprecated", False),
            )
            for machine in sorted(machines, key=lambda machine: str(machine["name"]))
            if machine["name"] != "none"
        ),
        cpu_models=tuple(sorted(names)),
        kvm=kvm,
        arch=ARCHES.get(target, target),
        blockers={
            model["name"]: tuple(model["unavailable-features"])
            for model in models
            if model.get("unavailable-features")
        },
        features={name: await _features(monitor, name) for name in sorted(names) if not VERSIONED.search(name)},
        abilities=await _abilities(monitor),
        deprecated_models=tuple(sorted(str(model["name"]) for model in models if model.get("deprecated"))),
    )


async def _abilities(monitor: Monitor) -> Abilities:
    devices = await monitor.execute("qom-list-types", {"implements": "device", "abstract": False})
    types = frozenset(str(one["name"]) for one in devices)
    properties = {
        kind: await monitor.execute("device-list-properties", {"typename": kind})
        for kind in ability.PROPERTY_TYPES
        if kind in types
    }
    options = await monitor.execute("query-command-line-options")
    chardevs = await monitor.execute("qom-list-types", {"implements": "chardev", "abstract": False})
    flags = await apart.run(ability.of_schema, await monitor.execute("query-qmp-schema"))
    flags |= ability.of_options(options) | ability.of_properties(properties) | ability.of_types(chardevs)
    return Abilities(flags, types)


async def _features(monitor: Monitor, model: str) -> tuple[str, ...]:
    """What ``model`` has (``query-cpu-model-expansion``); empty for one that only KVM has."""
    try:
        answer = await monitor.execute("query-cpu-model-expansion", {"type": "static", "model": {"name": model}})
    except CommandRefused:
        return ()
    return tuple(sorted(name for name, value in answer["model"].get("props", {}).items() if value is True))
