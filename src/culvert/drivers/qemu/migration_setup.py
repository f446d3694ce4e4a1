"""What the QEMUs of both sides are told before a migration: capabilities and parameters (qapi/migration.json)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from culvert.drivers.qemu.monitor import CommandRefused, Monitor
from culvert.ground import errors
from culvert.hypervisor.setup import DEFAULTS, Entrance, Setup

_FD_NAME = "migrate"

# What either side switches on; every other capability is switched off (qemuMigrationParamsAlwaysOn).
SOURCE_CAPABILITIES = frozenset({"events"})
DESTINATION_CAPABILITIES = frozenset({"events", "late-block-activate"})
_TOUCHED_CAPABILITIES = (
    *("xbzrle", "auto-converge", "rdma-pin-all", "events", "postcopy-ram", "postcopy-preempt", "compress"),
    *("pause-before-switchover", "late-block-activate", "multifd", "dirty-bitmaps", "return-path", "zero-copy-send"),
    *("switchover-ack", "postcopy-blocktime"),
)


async def _set_capabilities(monitor: Monitor, on: frozenset[str]) -> None:
    """Switch on exactly ``on`` of what libvirt touches. Raises ``OperationUnsupported`` for what QEMU has not got.

    Only what is to change is told: 10.0 before 10.0.2 takes nothing at all once multifd or preempt is on.
    """
    known = {item["capability"]: item["state"] for item in await monitor.execute("query-migrate-capabilities")}
    wanted = [
        {"capability": name, "state": name in on}
        for name in _TOUCHED_CAPABILITIES
        if name in known and known[name] is not (name in on)
    ]
    if known and (missing := sorted(on - known.keys())):
        raise errors.OperationUnsupported(
            f"domain '{monitor.name}': its QEMU has no migration capability {', '.join(missing)}"
        )
    if known and not wanted:
        return
    try:
        await monitor.execute("migrate-set-capabilities", {"capabilities": wanted})
    except CommandRefused as err:
        if "postcopy-ram" in on:
            raise errors.OperationUnsupported(
                f"domain '{monitor.name}': its QEMU refuses post-copy ({err}); the destination's needs userfaultfd "
                "(sysctl vm.unprivileged_userfaultfd=1, or root) and memory that userfaultfd can serve"
            ) from err
        raise


async def _set_parameters(monitor: Monitor, parameters: dict[str, int | str]) -> None:
    known = await monitor.execute("query-migrate-parameters")
    missing = sorted(
        name for name, value in parameters.items() if known and name not in known and value != DEFAULTS.get(name)
    )
    if missing:
        raise errors.OperationUnsupported(
            f"domain '{monitor.name}': its QEMU has no migration parameter {', '.join(missing)}"
        )
    changed = {name: value for name, value in parameters.items() if name in known and known[name] != value}
    if not changed:
        return
    await monitor.execute("migrate-set-parameters", changed)
    found = await monitor.execute("query-migrate-parameters")
    if ignored := sorted(name for name, value in changed.items() if found.get(name) != value):
        # 7.2.22 answers well and keeps the level of multifd's compression that it had.
        raise errors.OperationUnsupported(
            f"domain '{monitor.name}': its QEMU takes no notice of migration parameter {', '.join(ignored)}"
        )


async def tell(monitor: Monitor, setup: Setup, capabilities: frozenset[str]) -> None:
    """Have exactly ``capabilities`` and those of ``setup`` on, and its parameters set.

    Raises ``OperationUnsupported`` naming what this QEMU cannot do, ``CommandRefused`` with its words.
    """
    await _set_capabilities(monitor, capabilities | setup.capabilities)
    await _set_parameters(monitor, setup.parameters)


async def uri(monitor: Monitor, entrance: Entrance) -> str:
    """``entrance`` as every QEMU takes it; the descriptor of a socket is handed over for that."""
    if isinstance(entrance, Path):
        return f"unix:{entrance}"
    await monitor.send_fd(_FD_NAME, entrance.fileno())
    return f"fd:{_FD_NAME}"


async def address(monitor: Monitor, entrance: Entrance, *, channels: bool) -> dict[str, Any]:
    """``entrance`` as an argument of ``migrate`` and ``migrate-incoming``: as ``channels`` where the command takes
    them (from 8.1 on, by its schema), else as a URI. One main channel is all that they hold, however many there are.
    """
    if not channels:
        return {"uri": await uri(monitor, entrance)}
    if isinstance(entrance, Path):
        socket = {"type": "unix", "path": str(entrance)}
    else:
        await monitor.send_fd(_FD_NAME, entrance.fileno())
        socket = {"type": "fd", "str": _FD_NAME}
    return {"channels": [{"channel-type": "main", "addr": {"transport": "socket", **socket}}]}
