"""Devices beside disks and cards plugged into a domain and out of it (``domain.pluggable``).

QEMU is given what the command line would have: objects, character devices, the device. What is behind a device goes
when the guest has let go of it (``unplug``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from culvert.domain import pluggable
from culvert.domain.address import DimmAddress
from culvert.domain.definition import DomainDef
from culvert.domain.memory_device import MemoryModule
from culvert.domain.pluggable import PluggableKind
from culvert.drivers.qemu import memory_places
from culvert.drivers.qemu.abilities.ability import Ability
from culvert.drivers.qemu.command import command_chardev, command_device, command_memory
from culvert.drivers.qemu.command.command_memory import NO_PLACES, MemoryPlaces
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.run import Run
from culvert.ground import errors
from culvert.io import apart
from culvert.protocol.constants_state import EventID

# Argument of the command line → the command that does the same later, and the one that takes it back.
COMMANDS = {"-object": "object-add", "-device": "device_add", "-chardev": "chardev-add"}
BACK = {"-object": "object-del", "-chardev": "chardev-remove"}


def steps(
    definition: DomainDef,
    kind: PluggableKind,
    device: Any,
    places: MemoryPlaces = NO_PLACES,
    *,
    milliseconds: bool = False,
) -> list[tuple[str, Any]]:
    """(flag, arguments) of what QEMU is given for ``device`` of ``definition``, in its order."""
    only = replace(definition, devices=replace(definition.devices, **{kind.field: (device,)}))  # type: ignore[arg-type]
    match kind.field:
        case "memories":
            argv = command_memory.modules(only, places)
        case "rngs":
            argv = command_device.rngs(only)
        case "inputs":
            argv = command_device.inputs(only)
        case "redirdevs":
            argv = command_device.redirdevs(only, {})
        case "watchdogs":
            argv = command_device.watchdogs(only)[:-2]
        case "shmems":
            argv = command_device.shmems(only)
        case _:
            bare = replace(only.devices, serials=(), parallels=(), smartcards=(), consoles=())
            argv = command_chardev.chardevs(replace(only, devices=bare), incoming=False, channel_directory=None)
    argv = command_chardev.for_milliseconds(argv) if milliseconds else argv
    return [(flag, _arguments(flag, text)) for flag, text in zip(argv[::2], argv[1::2], strict=True)]


def _arguments(flag: str, text: str) -> Any:
    return command_chardev.as_qmp(text) if flag == "-chardev" else json.loads(text)


async def plug(domain: Domain, run: Run, kind: PluggableKind, device: Any) -> None:
    """Plug the completed ``device`` into the running guest; event DEVICE_ADDED. All of it, or nothing."""
    whole, new = await apart.run(pluggable.grown, run.definition, kind, device)
    places = await asyncio.to_thread(memory_places.look, whole, domain.host.layout)
    try:
        for flag, arguments in steps(whole, kind, new, places, milliseconds=Ability.RECONNECT_MS in run.abilities):
            await domain.monitor.execute(COMMANDS[flag], arguments)
        if kind.field == "watchdogs":
            await domain.monitor.execute("watchdog-set-action", {"action": new.action})
    except BaseException:
        await remove_backends(domain, whole, kind, new)
        raise
    if isinstance(new, MemoryModule) and not new.is_pci:
        new = await _with_base(domain, new)
    # Not ``whole``: meanwhile the guest may have changed what is known of it.
    run.definition = pluggable.added(run.definition, kind, new)
    await domain.persist()
    domain.tell(EventID.DEVICE_ADDED, dev_alias=new.alias)


async def _with_base(domain: Domain, module: MemoryModule) -> MemoryModule:
    """With the address that QEMU has given it, so that it has the same at another host."""
    for one in await domain.monitor.execute("query-memory-devices"):
        told = one["data"]
        if told.get("id") == module.alias:
            return replace(module, address=DimmAddress(slot=told["slot"], base=told["addr"]))
    return module


async def remove_backends(domain: Domain, definition: DomainDef, kind: PluggableKind, device: Any) -> None:
    """Take back what is behind ``device``; what is not there is no harm."""
    for flag, arguments in _backends(definition, kind, device):
        with contextlib.suppress(errors.RequestError):
            await domain.monitor.execute(BACK[flag], {"id": arguments["id"]})


def _backends(definition: DomainDef, kind: PluggableKind, device: Any) -> Iterator[tuple[str, Any]]:
    # Which folders its memory is from does not matter any more: the names do.
    anywhere = MemoryPlaces(hugepages={}, files="/")
    with contextlib.suppress(errors.RequestError):
        for flag, arguments in reversed(steps(definition, kind, device, anywhere)):
            if flag in BACK:
                yield flag, arguments


async def look_for_modules(domain: Domain, run: Run) -> None:
    """Where the modules are that QEMU was started with."""
    held = run.definition.devices.memories
    if any(not one.is_pci for one in held):
        made = tuple([one if one.is_pci else await _with_base(domain, one) for one in held])
        run.definition = replace(run.definition, devices=replace(run.definition.devices, memories=made))
