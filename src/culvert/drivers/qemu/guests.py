"""The driver as a migration sees it: the guests of this host."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from culvert.domain.definition import DomainDef
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.driver import Driver, UndefineOptions
from culvert.hypervisor.contract import Guest
from culvert.protocol.constants_state import UndefinedDetail


class QemuGuests:
    """The guests of ``driver``, as ``hypervisor.contract.Guests``: what each call means is said there."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def cpu_models(self) -> Collection[str]:
        return self._driver.host.machines.cpu_models

    @property
    def machines(self) -> Collection[str]:
        known = self._driver.host.machines
        return {machine.name for machine in known.machines} | known.aliases.keys()

    def domains(self) -> Sequence[Domain]:
        return self._driver.domains()

    def lookup_by_uuid(self, uuid: UUID) -> Domain:
        return self._driver.lookup_by_uuid(uuid)

    def complete(self, definition: DomainDef) -> DomainDef:
        return self._driver.complete(definition)

    async def define_xml(self, xml: str) -> Domain:
        return await self._driver.define_xml(xml, arriving=True)

    async def undefine(self, guest: Guest) -> None:
        domain = self._driver.lookup_by_uuid(guest.uuid)
        await self._driver.undefine(domain, UndefineOptions(nvram=False), detail=UndefinedDetail.MIGRATED)

    async def launch_incoming(self, definition: DomainDef, name: str | None = None) -> Domain:
        return await self._driver.launch_incoming(definition, name)
