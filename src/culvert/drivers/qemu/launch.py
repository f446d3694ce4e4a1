"""From a definition to a running QEMU."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from culvert.domain.chardev import ChannelDevice, ChardevSource, ConsoleDevice, Serial
from culvert.domain.definition import DomainDef
from culvert.domain.interface import Interface
from culvert.domain.start import prepare
from culvert.drivers.qemu import attach as others
from culvert.drivers.qemu import (
    balloon,
    belongings,
    cpu_check,
    cpu_seen,
    iotune,
    lifecycle,
    memory_places,
    news,
    nvram,
    opening,
    pinning,
    plugs,
    process,
    strays,
    swtpm,
    tpm_state,
    vcpus,
    viewers,
    vnc,
    vsock,
)
from culvert.drivers.qemu.abilities import running
from culvert.drivers.qemu.abilities.ability import Abilities
from culvert.drivers.qemu.command import command, fit
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.monitor import Event, Monitor
from culvert.drivers.qemu.run import START_FAILED, Run
from culvert.drivers.qemu.startup import StartStep, Startup
from culvert.drivers.qemu.state.layout import DIRECTORY_MODE
from culvert.ground import errors
from culvert.io import apart, blocking, unix_sockets
from culvert.protocol.constants_event import AgentReason
from culvert.protocol.constants_state import (
    DomainEvent,
    DomainState,
    PausedReason,
    RunningReason,
    StartedDetail,
    SuspendedDetail,
)

log = logging.getLogger(__name__)

C = TypeVar("C", Serial, ConsoleDevice, ChannelDevice)

VNC_ATTEMPTS = 5  # starts, when each time somebody else was faster at the port


async def start(domain: Domain, *, paused: bool = False, annotations: Mapping[str, str] | None = None) -> None:
    """Start the persistent definition; the guest runs on return, or stands still with ``paused``. ``annotations`` are
    kept with the run from its beginning.

    A failed start raises with QEMU's output and leaves nothing behind. Events: RESUMED and STARTED, or STARTED
    and SUSPENDED.
    """
    async with domain.changing("start"):
        check_startable(domain)
        await boot(domain, domain.definition, paused=paused, annotations=annotations)


def check_startable(domain: Domain) -> None:
    """For a start of the persistent definition that has waited for the domain.

    Raises ``errors.OperationInvalid`` when it runs, ``errors.NoDomain`` when it was undefined meanwhile.
    """
    if domain.run is not None:
        raise errors.OperationInvalid(f"domain is already running: '{domain.name}'")
    domain.require_persistent()


async def boot(
    domain: Domain, definition: DomainDef, *, paused: bool, annotations: Mapping[str, str] | None = None
) -> None:
    """Start ``definition`` as ``domain`` and let the guest run, or leave it standing with ``paused``.

    The caller holds the domain. When this raises or is cancelled, QEMU is gone.
    """
    async with _all_or_nothing(domain, annotations) as startup:
        run = await _launch(domain, startup, definition, incoming=False)
        await startup.step(StartStep.CPU, cpu_check.verify(domain))
        await startup.step(StartStep.SEEN, cpu_seen.learn(domain))
        run.started = True
        if paused:
            domain.set_state(DomainState.PAUSED, PausedReason.USER, (DomainEvent.STARTED, StartedDetail.BOOTED))
            domain.emit(DomainEvent.SUSPENDED, SuspendedDetail.PAUSED)
        else:
            run.resume_reason = RunningReason.BOOTED
            await startup.step(StartStep.RUNS, domain.monitor.execute("cont"))
            domain.emit(DomainEvent.STARTED, StartedDetail.BOOTED)
        belongings.keep(domain.annotations)
        await startup.step(StartStep.DONE, domain.persist())
        await startup.step(StartStep.HERE, domain.here_again())


async def incoming(domain: Domain, definition: DomainDef) -> None:
    """Start ``definition`` waiting for an incoming migration (``-incoming defer``): PAUSED, migration; event STARTED.

    The caller holds the domain. When this raises or is cancelled, QEMU is gone.
    """
    async with _all_or_nothing(domain) as startup:
        run = await _launch(domain, startup, definition, incoming=True, stands=PausedReason.MIGRATION)
        await startup.step(StartStep.SEEN, cpu_seen.learn(domain))
        run.started = True
        domain.emit(DomainEvent.STARTED, StartedDetail.MIGRATED)
        await startup.step(StartStep.DONE, domain.persist())


async def restored(
    domain: Domain,
    definition: DomainDef,
    feed: Callable[[], Awaitable[None]],
    *,
    paused: bool,
    annotations: Mapping[str, str] | None = None,
) -> None:
    """Start ``definition`` with the state that ``feed`` gives QEMU: events STARTED and RESUMED, or SUSPENDED.

    The caller holds the domain. When this raises or is cancelled, QEMU is gone.
    """
    async with _all_or_nothing(domain, annotations) as startup:
        run = await _launch(domain, startup, definition, incoming=True)
        await startup.step(StartStep.CPU, cpu_check.verify(domain, arriving=True))
        await startup.step(StartStep.SEEN, cpu_seen.learn(domain))
        await startup.step(StartStep.FED, feed())
        run.started = True
        domain.emit(DomainEvent.STARTED, StartedDetail.RESTORED)
        if paused:
            domain.set_state(DomainState.PAUSED, PausedReason.USER)
            domain.emit(DomainEvent.SUSPENDED, SuspendedDetail.RESTORED)
        else:
            run.resume_reason = RunningReason.RESTORED
            await startup.step(StartStep.RUNS, domain.monitor.execute("cont"))
        belongings.keep(domain.annotations)
        await startup.step(StartStep.DONE, domain.persist())
        await startup.step(StartStep.HERE, domain.here_again())


async def reverted(
    domain: Domain, definition: DomainDef, load: Callable[[], Awaitable[None]] | None, *, paused: bool
) -> None:
    """Start ``definition`` as it was at a snapshot, whose state ``load`` has QEMU read, if it has one: events STARTED
    and RESUMED, or SUSPENDED, from snapshot.

    The caller holds the domain. When this raises or is cancelled, QEMU is gone.
    """
    async with _all_or_nothing(domain) as startup:
        run = await _launch(domain, startup, definition, incoming=False)
        await startup.step(StartStep.CPU, cpu_check.verify(domain, arriving=load is not None))
        await startup.step(StartStep.SEEN, cpu_seen.learn(domain))
        if load is not None:
            await startup.step(StartStep.FED, load())
        run.started = True
        domain.emit(DomainEvent.STARTED, StartedDetail.FROM_SNAPSHOT)
        if paused:
            domain.set_state(DomainState.PAUSED, PausedReason.FROM_SNAPSHOT)
            domain.emit(DomainEvent.SUSPENDED, SuspendedDetail.FROM_SNAPSHOT)
        else:
            run.resume_reason = RunningReason.FROM_SNAPSHOT
            await startup.step(StartStep.RUNS, domain.monitor.execute("cont"))
        await startup.step(StartStep.DONE, domain.persist())
        await startup.step(StartStep.HERE, domain.here_again())


@contextlib.asynccontextmanager
async def _all_or_nothing(domain: Domain, annotations: Mapping[str, str] | None = None) -> AsyncIterator[Startup]:
    startup = domain.startup = Startup(domain.name, annotations=annotations or {})
    try:
        yield startup
    except BaseException as err:
        await domain.kill(START_FAILED.reason, START_FAILED.detail)
        if isinstance(err, errors.RequestError):
            startup.explain(err)  # a QEMU that is ended gives many reasons for it, all of them misleading
        raise
    finally:
        domain.startup = None
        if not domain.is_active and not domain.is_persistent:
            domain.host.retire(domain)
            await asyncio.to_thread(tpm_state.forget, domain.definition, domain.host.layout)


async def _launch(
    domain: Domain,
    startup: Startup,
    definition: DomainDef,
    *,
    incoming: bool,
    stands: PausedReason = PausedReason.STARTING_UP,
) -> Run:
    """A QEMU whose CPUs stand still, whose monitor answers, and whose devices are known.

    ``stands``: why, as everybody sees it. The next daemon ends what is starting up, and asks about a migration.
    """
    known = await domain.host.emulators.look(definition.devices.emulator)
    reset = nvram.RESET in startup.annotations
    await asyncio.to_thread(tpm_state.check, definition)
    definition = await asyncio.to_thread(nvram.settle, definition, domain.host.layout, reset=reset)
    startup.annotations = {**startup.annotations, **await asyncio.to_thread(_to_make, domain, definition)}
    # The emulator may have changed since the domain was defined.
    await apart.run(fit.check, definition, known)
    try:
        opened = await opening.prepared(domain.host, definition, missing_allowed=not incoming)
    except errors.RequestError:
        domain.set_state(DomainState.SHUTOFF, START_FAILED.reason)
        raise
    prepared = await apart.run(prepare, opened)
    if prepared.qemu_commandline is not None:
        if not domain.host.allow_commandline:
            raise errors.ConfigUnsupported(
                "unsupported configuration: /domain/qemu:commandline is not allowed here"
                " (allow_commandline in culvertd.toml)"
            )
        log.warning("domain=%s is tainted: custom-argv", domain.name)
    places = await vnc.places(prepared)
    plugs.check(domain.host.networks, prepared.devices.interfaces)
    strays.check(domain.host, domain.name, domain.uuid)
    domain.host.may_start(domain.uuid)
    first = vnc.FIRST_PORT
    for attempt in range(1, VNC_ATTEMPTS + 1):
        resolved = vnc.resolve(prepared, places, domain.host.vnc_ports, first, tls=bool(domain.host.spice_tls))
        try:
            return await _try_launch(domain, startup, resolved, known.abilities, incoming=incoming, stands=stands)
        except errors.OperationFailed as err:
            chosen = vnc.ports(resolved) - vnc.ports(definition)
            if attempt == VNC_ATTEMPTS or not chosen or not any(text in err.message for text in vnc.TAKEN):
                raise
            log.warning("domain=%s somebody else took a VNC port of %s, trying others", domain.name, sorted(chosen))
            await domain.kill(START_FAILED.reason, START_FAILED.detail)
            startup.explain()
            first = max(chosen) + 1
    raise AssertionError("the last attempt returns or raises")


async def _try_launch(
    domain: Domain,
    startup: Startup,
    definition: DomainDef,
    abilities: Abilities,
    *,
    incoming: bool,
    stands: PausedReason,
) -> Run:
    host = domain.host
    domain_id = host.allocate_id()
    run = Run(domain_id, definition, host.layout.runtime(domain_id, domain.name))
    domain.begin(run)
    domain.annotations.update(startup.annotations)
    startup.run = run
    vnc.reserve(host, run)
    domain.set_state(DomainState.PAUSED, stands)
    try:
        await startup.reach(StartStep.BEGUN)
        # So the next daemon knows where to look for a QEMU that was started and not written down any more.
        await startup.step(StartStep.WRITTEN, domain.persist())
        reset = domain.annotations.pop(nvram.RESET, None) is not None
        await startup.step(StartStep.FLASH, asyncio.to_thread(nvram.make, definition, reset=reset))
        await _spawn(domain, run, abilities, incoming=incoming)
    except BaseException:
        run.ending = run.ending or START_FAILED
        # In a task of its own: a second cancellation must not leave half a run behind.
        host.spawn(domain.clear(run), name=f"clear-{domain.name}", essential=True)
        await run.gone.wait()
        raise
    host.spawn(domain.supervise(run), name=f"supervise-{domain.name}")
    await startup.reach(StartStep.SPAWNED)
    await startup.step(StartStep.NOTED, domain.persist())
    await startup.step(StartStep.CONNECTED, attach(domain, run))
    run.abilities = await startup.step(StartStep.ABILITIES, running.ask(domain.monitor))
    await startup.step(StartStep.PROCESSORS, _processors(domain))
    on_reboot = definition.on_reboot or lifecycle.RESTART
    await startup.step(StartStep.ACTIONS, _instruct(domain, run, on_reboot))
    for graphics in definition.devices.graphics:
        if graphics.passwd is not None:
            await startup.step(StartStep.SECRETS, vnc.set_password(domain, graphics))
    await startup.step(StartStep.BALLOON, balloon.prepare(domain, run.definition, incoming=incoming))
    await startup.step(StartStep.TUNED, iotune.as_defined(domain, run.definition))
    run.definition = await startup.step(StartStep.LEARNT, _learn(run.definition, domain.monitor))
    await startup.step(StartStep.LEARNT, others.look_for_modules(domain, run))
    if host.spice_tls:
        reading = asyncio.to_thread(viewers.subject, Path(host.spice_tls))
        run.spice_subject = await startup.step(StartStep.LEARNT, reading)
    news.tell_channels(domain, run, AgentReason.DOMAIN_STARTED)
    return run


def _to_make(domain: Domain, definition: DomainDef) -> dict[str, str]:
    """Annotations for what is not on the disk yet."""
    return {**nvram.to_make(definition), **tpm_state.to_make(definition, domain.host.layout)}


async def _instruct(domain: Domain, run: Run, on_reboot: str) -> None:
    """What to do when the guest ends, and which of its cards have no link."""
    await domain.monitor.execute("set-action", lifecycle.actions(on_reboot))
    for card in run.definition.devices.interfaces:
        if card.link == "down":
            await domain.monitor.execute("set_link", {"name": card.alias, "up": False})


async def _processors(domain: Domain) -> None:
    await vcpus.prepare(domain)
    await pinning.as_defined(domain)


def _monitor_socket(run: Run) -> socket.socket:
    """Where QEMU listens, in a folder of its own. It touches the disk."""
    run.runtime.mkdir(mode=DIRECTORY_MODE)
    return unix_sockets.listen(run.monitor_path)


async def _spawn(domain: Domain, run: Run, abilities: Abilities, *, incoming: bool) -> None:
    """Start the process. All that was opened for it is closed again."""
    async with contextlib.AsyncExitStack() as opened:
        try:
            listener = await blocking.made(lambda: _monitor_socket(run), undo=socket.socket.close)
            opened.enter_context(listener)
        except OSError as err:
            raise errors.SystemCallError(
                f"domain '{domain.name}': cannot make its monitor socket: {err.strerror}", errno=err.errno
            ) from err
        await swtpm.start(domain.name, run, domain.host.layout, incoming=incoming)
        if run.tpm is not None:
            domain.host.spawn(swtpm.watch(domain.name, run), name=f"watch-tpm-{domain.name}")
        taps, vhosts = await _plug_in(domain, run, opened)
        fds = [listener.fileno(), *(fd for each in (*taps.values(), *vhosts.values()) for fd in each)]
        channels = run.runtime
        devices = run.definition.devices
        unix = any(one.type == "unix" for one in devices.channels)
        if unix or devices.tpms or any(one.kind == "socket" for one in devices.graphics):
            # QEMU binds these sockets itself, and the path below the daemon's directory may be too long for it.
            directory = os.open(run.runtime, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, directory)
            fds.append(directory)
            channels = Path(f"/proc/self/fd/{directory}")
        secrets = await _passwords(domain, run, opened)
        fds += secrets.values()
        vsock_fd = None
        if run.definition.devices.vsock is not None:
            vsock_fd, run.definition = await blocking.made(
                lambda: vsock.open_for(run.definition), undo=lambda made: os.close(made[0])
            )
            opened.callback(os.close, vsock_fd)
            fds.append(vsock_fd)
        options = command.LaunchOptions(
            monitor_fd=listener.fileno(),
            incoming=incoming,
            tap_fds=taps,
            vhost_fds=vhosts,
            channel_directory=str(channels),
            now=time.time(),
            spice_tls=domain.host.spice_tls or None,
            vsock_fd=vsock_fd,
            memory=await asyncio.to_thread(memory_places.look, run.definition, domain.host.layout),
            secret_fds=secrets,
        )
        argv = await apart.run(command.build, run.definition, options, abilities)
        log_file = domain.host.layout.log_file(domain.name)
        run.process = await process.launch(
            domain.name,
            argv,
            log_file=log_file,
            folder=run.runtime,
            pass_fds=fds,
            variables=command.environment(run.definition),
        )
        run.log_offset = run.process.output.offset


async def _passwords(domain: Domain, run: Run, opened: contextlib.AsyncExitStack) -> dict[str, int]:
    """Name of a secret object → a descriptor of memory with its value, which nobody else can open."""
    fds: dict[str, int] = {}
    for disk in run.definition.devices.disks:
        for name, value in opening.passwords(domain.host, disk).items():
            fds[name] = fd = os.memfd_create("secret", os.MFD_CLOEXEC)
            opened.callback(os.close, fd)
            os.write(fd, value)
            os.lseek(fd, 0, os.SEEK_SET)
    return fds


async def _plug_in(
    domain: Domain, run: Run, opened: contextlib.AsyncExitStack
) -> tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]]:
    """Every card plugged in: descriptors of taps and of vhost by the card's index. Its live XML says where."""
    taps: dict[int, tuple[int, ...]] = {}
    vhosts: dict[int, tuple[int, ...]] = {}
    owner = domain.owner
    for index in range(len(run.definition.devices.interfaces)):
        _set_card(
            run, index, await plugs.choose(domain.host.networks, owner, run.definition.devices.interfaces[index])
        )
    if any(card.type == "direct" for card in run.definition.devices.interfaces):
        await domain.persist()  # such a device stays when the daemon is ended: the next one has to know it
    for index, card in enumerate(run.definition.devices.interfaces):
        plugged = await plugs.plug(owner, card)
        # In a thread: when no QEMU has taken it, the device goes with it.
        opened.push_async_callback(asyncio.to_thread, plugged.close)
        _set_card(run, index, plugged.card)
        if plugged.helper is not None:
            domain.host.spawn(plugs.watch(domain.name, card, plugged.helper), name=f"passt-{domain.name}")
        if plugged.taps:
            taps[index] = plugged.taps
        if plugged.vhosts:
            vhosts[index] = plugged.vhosts
    return taps, vhosts


def _set_card(run: Run, index: int, card: Interface) -> None:
    cards = list(run.definition.devices.interfaces)
    cards[index] = card
    run.definition = replace(run.definition, devices=replace(run.definition.devices, interfaces=tuple(cards)))


async def attach(domain: Domain, run: Run) -> None:
    """Connect the monitor of ``run``; from here on its events are followed. Raises as ``Monitor.connect``."""
    run.monitor = await Monitor.connect(
        run.monitor_path,
        domain.host,
        name=domain.name,
        last_output=run.last_output,
        ended=run.process.exited if run.process else None,
        timeout=domain.host.start_timeout,
        subscriber=lambda event: follow(domain, run, event),
    )


def follow(domain: Domain, run: Run, event: Event) -> None:
    """What one event of the monitor of ``run`` tells and does."""
    news.handle(domain, run, event)
    lifecycle.handle(domain, run, event)


async def _learn(definition: DomainDef, monitor: Monitor) -> DomainDef:
    """``definition`` with what only a running QEMU knows: the ptys it took, the VNC ports it listens on."""
    chardevs = await monitor.execute("query-chardev")
    ptys = {
        str(entry["label"]).removeprefix("char"): str(entry["filename"]).removeprefix("pty:")
        for entry in chardevs
        if str(entry["filename"]).startswith("pty:")
    }
    opened = {str(entry["label"]).removeprefix("char") for entry in chardevs if entry.get("frontend-open")}
    devices = definition.devices
    return replace(
        definition,
        devices=replace(
            devices,
            serials=tuple(_on_pty(serial, ptys) for serial in devices.serials),
            consoles=tuple(_on_pty(console, ptys) for console in devices.consoles),
            channels=tuple(_with_state(_on_pty(channel, ptys), opened) for channel in devices.channels),
        ),
    )


def _with_state(channel: ChannelDevice, opened: Collection[str]) -> ChannelDevice:
    state = "connected" if channel.alias in opened else "disconnected"
    return replace(channel, target=replace(channel.target, state=state))


def _on_pty(device: C, ptys: dict[str, str]) -> C:
    path = ptys.get(device.alias or "")
    if device.type != "pty" or path is None:
        return device
    source = replace(device.source or ChardevSource(), path=path)
    if isinstance(device, ConsoleDevice):
        return replace(device, source=source, tty=path)
    return replace(device, source=source)
