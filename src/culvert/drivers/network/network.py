"""One network: what it is, whether it runs, and what is plugged into it."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from culvert.domain.network import text
from culvert.domain.network.definition import NetworkDef
from culvert.drivers.network.port import Port
from culvert.drivers.qemu.process import Process
from culvert.ground import errors


@dataclass(slots=True, eq=False)
class Network:
    """``kept``: its definition on the disk, by which it starts; a transient one has none. ``live``: the one by which
    it is ``active``, or is being started. ``server``: its dnsmasq."""

    name: str
    uuid: UUID
    kept: NetworkDef | None = None
    live: NetworkDef | None = None
    active: bool = False
    autostart: bool = False
    server: Process | None = None
    ports: dict[UUID, Port] = field(default_factory=dict)

    @property
    def persistent(self) -> bool:
        return self.kept is not None

    @property
    def definition(self) -> NetworkDef:
        """Of now: the one it is active by, else the one it would start with."""
        found = self.live or self.kept
        assert found is not None, "a network without any definition is on no list"
        return found

    @property
    def bridge(self) -> str:
        """Raises ``errors.InternalError`` where it has none."""
        name = self.definition.bridge_name
        if name is None:
            raise errors.InternalError(f"network '{self.name}' does not have a bridge name.")
        return name

    def require_active(self) -> NetworkDef:
        """The definition it is active by. Raises ``errors.OperationInvalid``."""
        if not self.active or self.live is None:
            raise errors.OperationInvalid(f"network '{self.name}' is not active")
        return self.live

    def xml(self, *, inactive: bool) -> str:
        """Of now, or, ``inactive``, of its next start."""
        if inactive:
            return text.format(self.kept or self.definition)
        return text.format(self.definition, connections=len(self.ports) if self.active else 0)
