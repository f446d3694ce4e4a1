"""What QEMU's events tell clients, beside the lifecycle: a table from the event's name to what is said.

Source: qapi/*.json of QEMU for the events, qemu/qemu_process.c (qemuProcessHandle*) of libvirt 9.0 for what becomes
of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from culvert.domain.chardev import ChannelDevice
from culvert.domain.disk import Disk
from culvert.drivers.qemu import agent, balloon, cards, unplug, vcpus
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.events import Heard
from culvert.drivers.qemu.monitor import Event
from culvert.drivers.qemu.run import Run
from culvert.ground import errors
from culvert.ground.units import KiB
from culvert.protocol.constants_event import (
    AgentReason,
    AgentState,
    GraphicsFamily,
    GraphicsPhase,
    IOErrorAction,
    TrayReason,
    WatchdogAction,
)
from culvert.protocol.constants_state import EventID
from culvert.protocol.remote_event import GraphicsAddress, GraphicsIdentity

_QDEV = re.compile(r"/machine/peripheral/([^/]+)")

_WATCHDOG = {
    "none": WatchdogAction.NONE,
    "pause": WatchdogAction.PAUSE,
    "reset": WatchdogAction.RESET,
    "poweroff": WatchdogAction.POWEROFF,
    "shutdown": WatchdogAction.SHUTDOWN,
    "debug": WatchdogAction.DEBUG,
    "inject-nmi": WatchdogAction.INJECTNMI,
}
_IO_ERROR = {"ignore": IOErrorAction.NONE, "stop": IOErrorAction.PAUSE, "report": IOErrorAction.REPORT}
_FAMILY = {"ipv4": GraphicsFamily.IPV4, "ipv6": GraphicsFamily.IPV6, "unix": GraphicsFamily.UNIX}


def handle(domain: Domain, run: Run, event: Event) -> None:
    """Tell what one event of the monitor of ``run`` means to those who listen."""
    stamp = event.get("timestamp", {})
    domain.host.events.heard(
        Heard(
            domain.name,
            domain.uuid,
            domain.id,
            str(event["event"]),
            event.get("data"),
            int(stamp.get("seconds", 0)),
            int(stamp.get("microseconds", 0)),
        )
    )
    teller = TELLERS.get(event["event"])
    if teller is not None and domain.run is run and run.started:
        teller(domain, run, event.get("data", {}))


def _reboot(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    domain.tell(EventID.REBOOT)


def _rtc_change(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    domain.tell(EventID.RTC_CHANGE, offset=int(data["offset"]))


def _watchdog(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    domain.tell(EventID.WATCHDOG, action=int(_WATCHDOG.get(str(data.get("action")), WatchdogAction.NONE)))


def _io_error(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    disk = _disk_of(run, data)
    path, alias = (disk.path or "", disk.alias or "") if disk else ("", str(data.get("device", "")))
    said = {"src_path": path, "dev_alias": alias, "action": int(_IO_ERROR.get(str(data.get("action")), 0))}
    domain.tell(EventID.IO_ERROR, **said)
    domain.tell(EventID.IO_ERROR_REASON, **said, reason="enospc" if data.get("nospace") else "")


def _disk_of(run: Run, data: dict[str, Any]) -> Disk | None:
    node, device = str(data.get("node-name", "")), str(data.get("device", ""))
    alias = _QDEV.match(str(data.get("qom-path", "")))
    for disk in run.definition.devices.disks:
        number = disk.source.index if disk.source else None
        if (alias and disk.alias == alias[1]) or disk.alias == device or node == f"libvirt-{number}-format":
            return disk
    return None


def _graphics(phase: GraphicsPhase) -> Callable[[Domain, Run, dict[str, Any]], None]:
    def tell(domain: Domain, run: Run, data: dict[str, Any]) -> None:
        server, client = data.get("server", {}), data.get("client", {})
        names = {"x509dname": client.get("x509_dname"), "saslUsername": client.get("sasl_username")}
        domain.tell(
            EventID.GRAPHICS,
            phase=int(phase),
            local=_address(server),
            remote=_address(client),
            auth_scheme=str(server.get("auth", "")),
            subject=[GraphicsIdentity(kind, str(name)) for kind, name in names.items() if name],
        )

    return tell


def _address(told: dict[str, Any]) -> GraphicsAddress:
    family = _FAMILY.get(str(told.get("family")), GraphicsFamily.IPV4)
    return GraphicsAddress(int(family), str(told.get("host", "")), str(told.get("service", told.get("port", ""))))


def _balloon_change(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    actual = int(data["actual"]) // KiB
    run.definition = replace(run.definition, current_memory=actual)
    domain.changed()
    if balloon.alias_of(run.definition) is not None:
        domain.tell(EventID.BALLOON_CHANGE, actual=actual)


def _tray(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    is_open = bool(data.get("tray-open"))
    alias = str(data.get("id") or data.get("device", ""))
    match = _QDEV.match(alias)
    alias = match[1] if match else alias
    disks = tuple(
        replace(disk, target=replace(disk.target, tray="open" if is_open else None)) if disk.alias == alias else disk
        for disk in run.definition.devices.disks
    )
    run.definition = replace(run.definition, devices=replace(run.definition.devices, disks=disks))
    domain.changed()
    domain.tell(EventID.TRAY_CHANGE, dev_alias=alias, reason=int(TrayReason.OPEN if is_open else TrayReason.CLOSE))


def _channel(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    note_channel(domain, run, str(data["id"]), connected=bool(data["open"]), reason=AgentReason.CHANNEL)


def note_channel(domain: Domain, run: Run, alias: str, *, connected: bool, reason: AgentReason) -> None:
    """A program in the guest has opened a channel, or closed it; news if it is the agent's."""
    state = "connected" if connected else "disconnected"

    def changed(channel: ChannelDevice) -> ChannelDevice:
        if channel.alias != alias:
            return channel
        return replace(channel, target=replace(channel.target, state=state))

    before = run.definition.devices.channels
    after = tuple(changed(channel) for channel in before)
    if after == before:
        return
    run.definition = replace(run.definition, devices=replace(run.definition.devices, channels=after))
    domain.changed()
    for channel in after:
        if channel.alias == alias:
            _tell_channel(domain, channel, reason)
    found = agent.channel(run.definition)
    if found is not None and found.alias == alias:
        tell_agent(domain, run, reason)


def tell_channels(domain: Domain, run: Run, reason: AgentReason) -> None:
    """How every channel of the guest stands, the agent's among them; ``reason``: why that is told."""
    for channel in run.definition.devices.channels:
        _tell_channel(domain, channel, reason)
    tell_agent(domain, run, reason)


def _tell_channel(domain: Domain, channel: ChannelDevice, reason: AgentReason) -> None:
    told = AgentState.CONNECTED if channel.target.state == "connected" else AgentState.DISCONNECTED
    domain.tell(
        EventID.CHANNEL_LIFECYCLE, channel_name=channel.target.name or "", state=int(told), reason=int(reason)
    )


def tell_agent(domain: Domain, run: Run, reason: AgentReason) -> None:
    """Whether the guest's agent is there, if it has a channel for one; ``reason``: why that is told."""
    found = agent.channel(run.definition)
    if found is not None:
        told = AgentState.CONNECTED if found.target.state == "connected" else AgentState.DISCONNECTED
        domain.tell(EventID.AGENT_LIFECYCLE, state=int(told), reason=int(reason))


def _deleted(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    alias = data.get("device")
    looking = vcpus.heard_of(domain, run, str(data.get("path", "")))
    domain.host.spawn(looking, name=f"unplugged-{domain.name}", essential=True)
    if alias:
        domain.host.spawn(unplug.clear_away(domain, run, str(alias)), name=f"unplugged-{domain.name}", essential=True)


def _not_unplugged(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    alias = str(data.get("device", ""))
    waiting = run.unplugging.pop(alias, None)
    if waiting is not None and not waiting.done():
        waiting.set_exception(errors.OperationFailed(f"unplug of device was rejected by the guest: {alias}"))
    domain.tell(EventID.DEVICE_REMOVAL_FAILED, dev_alias=alias)


def _filter_changed(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    looking = cards.filter_changed(domain, run, str(data.get("name", "")))
    domain.host.spawn(looking, name=f"address-{domain.name}")


def _pm(kind: EventID) -> Callable[[Domain, Run, dict[str, Any]], None]:
    def tell(domain: Domain, run: Run, data: dict[str, Any]) -> None:
        domain.tell(kind, reason=0)

    return tell


def _migration_pass(domain: Domain, run: Run, data: dict[str, Any]) -> None:
    domain.tell(EventID.MIGRATION_ITERATION, iteration=int(data["pass"]))


TELLERS: dict[str, Callable[[Domain, Run, dict[str, Any]], None]] = {
    "RESET": _reboot,
    "RTC_CHANGE": _rtc_change,
    "WATCHDOG": _watchdog,
    "BLOCK_IO_ERROR": _io_error,
    "VNC_CONNECTED": _graphics(GraphicsPhase.CONNECT),
    "VNC_INITIALIZED": _graphics(GraphicsPhase.INITIALIZE),
    "VNC_DISCONNECTED": _graphics(GraphicsPhase.DISCONNECT),
    "SPICE_CONNECTED": _graphics(GraphicsPhase.CONNECT),
    "SPICE_INITIALIZED": _graphics(GraphicsPhase.INITIALIZE),
    "SPICE_DISCONNECTED": _graphics(GraphicsPhase.DISCONNECT),
    "BALLOON_CHANGE": _balloon_change,
    "DEVICE_TRAY_MOVED": _tray,
    "VSERPORT_CHANGE": _channel,
    "DEVICE_DELETED": _deleted,
    "DEVICE_UNPLUG_GUEST_ERROR": _not_unplugged,
    "NIC_RX_FILTER_CHANGED": _filter_changed,
    "SUSPEND": _pm(EventID.PMSUSPEND),
    "SUSPEND_DISK": _pm(EventID.PMSUSPEND_DISK),
    "WAKEUP": _pm(EventID.PMWAKEUP),
    "MIGRATION_PASS": _migration_pass,
}
