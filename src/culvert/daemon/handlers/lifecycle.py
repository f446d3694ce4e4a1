"""Domains defined, started, stopped and steered."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from culvert.daemon.service import Service, no_flags, on_wire
from culvert.drivers.qemu import agent, autodestroy, nvram, power, save
from culvert.drivers.qemu.driver import UndefineOptions
from culvert.ground import errors
from culvert.protocol import remote_change, remote_domain, shapes
from culvert.protocol.constants_flag import CreateFlag, DefineFlag, DestroyFlag, ShutdownFlag, UndefineFlag
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

# Those of snapshots and checkpoints concern what culvert does not keep: there is nothing to remove.
UNDEFINE_FLAGS = (
    UndefineFlag.MANAGED_SAVE
    | UndefineFlag.SNAPSHOTS_METADATA
    | UndefineFlag.NVRAM
    | UndefineFlag.KEEP_NVRAM
    | UndefineFlag.CHECKPOINTS_METADATA
    | UndefineFlag.TPM
    | UndefineFlag.KEEP_TPM
)

STARTS = CreateFlag.PAUSED | CreateFlag.AUTODESTROY | CreateFlag.RESET_NVRAM
AUTODESTROY = "autodestroy"  # of ``Session.data``: takes back what is done when the session has ended


class LifecycleHandlers:
    """Handlers of the lifecycle group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_domain.DOMAIN_DEFINE_XML, self.define_xml)
        handlers.add(remote_domain.DOMAIN_DEFINE_XML_FLAGS, self.define_xml_flags)
        handlers.add(remote_domain.DOMAIN_UNDEFINE, self.undefine)
        handlers.add(remote_domain.DOMAIN_UNDEFINE_FLAGS, self.undefine_flags)
        handlers.add(remote_domain.DOMAIN_CREATE_XML, self.create_xml)
        handlers.add(remote_domain.DOMAIN_CREATE, self.create)
        handlers.add(remote_domain.DOMAIN_CREATE_WITH_FLAGS, self.create_with_flags)
        handlers.add(remote_domain.DOMAIN_DESTROY, self.destroy)
        handlers.add(remote_domain.DOMAIN_DESTROY_FLAGS, self.destroy_flags)
        handlers.add(remote_domain.DOMAIN_SHUTDOWN, self.shutdown)
        handlers.add(remote_domain.DOMAIN_SHUTDOWN_FLAGS, self.shutdown_flags)
        handlers.add(remote_domain.DOMAIN_REBOOT, self.reboot)
        handlers.add(remote_domain.DOMAIN_RESET, self.reset)
        handlers.add(remote_domain.DOMAIN_SUSPEND, self.suspend)
        handlers.add(remote_domain.DOMAIN_RESUME, self.resume)
        handlers.add(remote_change.DOMAIN_RENAME, self.rename)

    async def define_xml(self, session: Session, args: shapes.XMLArgs) -> shapes.DomainRet:
        return shapes.DomainRet(on_wire(await self._service.driver.define_xml(args.xml)))

    async def define_xml_flags(self, session: Session, args: shapes.XMLFlagsArgs) -> shapes.DomainRet:
        # VALIDATE asks for a check against the schema: what the schema does not know is refused here in any case.
        no_flags(args.flags, "qemuDomainDefineXMLFlags", DefineFlag.VALIDATE)
        return shapes.DomainRet(on_wire(await self._service.driver.define_xml(args.xml)))

    async def rename(self, session: Session, args: remote_change.DomainRenameArgs) -> remote_change.RenameRet:
        no_flags(args.flags, "qemuDomainRename")
        if args.new_name is None:
            raise errors.InvalidArgument("a domain cannot be renamed to nothing")
        domain = self._service.domain(args.dom)
        self._service.rights.admit(replace(domain.definition, name=args.new_name))
        await self._service.driver.rename(domain, args.new_name)
        return remote_change.RenameRet(0)

    async def undefine(self, session: Session, args: shapes.DomainArgs) -> Void:
        await self._service.driver.undefine(self._service.domain(args.dom))
        return Void()

    async def undefine_flags(self, session: Session, args: shapes.DomainFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainUndefineFlags", UNDEFINE_FLAGS)
        managed_save = bool(args.flags & UndefineFlag.MANAGED_SAVE)
        variables = _either(args.flags, UndefineFlag.NVRAM, UndefineFlag.KEEP_NVRAM, "nvram")
        snapshots = bool(args.flags & UndefineFlag.SNAPSHOTS_METADATA)
        tpm = _either(args.flags, UndefineFlag.TPM, UndefineFlag.KEEP_TPM, "TPM")
        gone = UndefineOptions(managed_save=managed_save, snapshots=snapshots, nvram=variables, tpm=tpm)
        await self._service.driver.undefine(self._service.domain(args.dom), gone)
        return Void()

    async def create_xml(self, session: Session, args: remote_domain.DomainCreateXMLArgs) -> shapes.DomainRet:
        no_flags(args.flags, "qemuDomainCreateXML", STARTS | CreateFlag.VALIDATE)
        async with self._bound(session, args.flags) as annotations:
            domain = await self._service.driver.create_xml(
                args.xml_desc, paused=bool(args.flags & CreateFlag.PAUSED), annotations=annotations
            )
        return shapes.DomainRet(on_wire(domain))

    async def create(self, session: Session, args: shapes.DomainArgs) -> Void:
        await save.start(self._service.driver, self._service.domain(args.dom))
        return Void()

    async def create_with_flags(self, session: Session, args: shapes.DomainFlagsArgs) -> shapes.DomainRet:
        no_flags(args.flags, "qemuDomainCreateWithFlags", STARTS | CreateFlag.FORCE_BOOT | CreateFlag.BYPASS_CACHE)
        domain = self._service.domain(args.dom)
        async with self._bound(session, args.flags) as annotations:
            await save.start(
                self._service.driver,
                domain,
                paused=bool(args.flags & CreateFlag.PAUSED),
                force_boot=bool(args.flags & CreateFlag.FORCE_BOOT),
                bypass_cache=bool(args.flags & CreateFlag.BYPASS_CACHE),
                annotations=annotations,
            )
        return shapes.DomainRet(on_wire(domain))

    @contextlib.asynccontextmanager
    async def _bound(self, session: Session, flags: int) -> AsyncIterator[dict[str, str]]:
        """What a start inside annotates its run with; with AUTODESTROY the guest then ends with ``session``, at once
        when that has ended meanwhile."""
        wishes = {nvram.RESET: "yes"} if flags & CreateFlag.RESET_NVRAM else {}
        if not flags & CreateFlag.AUTODESTROY:
            yield wishes
            return
        yield autodestroy.mark(session.id) | wishes
        if AUTODESTROY in session.data:
            session.data[AUTODESTROY]()  # one is enough for all its guests
        driver = self._service.driver
        session.data[AUTODESTROY] = session.on_close(lambda: autodestroy.connection_ended(driver, session.id))

    async def destroy(self, session: Session, args: shapes.DomainArgs) -> Void:
        await power.destroy(self._service.domain(args.dom))
        return Void()

    async def destroy_flags(self, session: Session, args: shapes.DomainFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainDestroyFlags", DestroyFlag.GRACEFUL)
        await power.destroy(self._service.domain(args.dom), graceful=bool(args.flags & DestroyFlag.GRACEFUL))
        return Void()

    async def shutdown(self, session: Session, args: shapes.DomainArgs) -> Void:
        await power.shutdown(self._service.domain(args.dom))
        return Void()

    async def shutdown_flags(self, session: Session, args: shapes.DomainFlagsArgs) -> Void:
        domain = self._service.domain(args.dom)
        if _by_agent(args.flags, "shut down"):
            await agent.shut_down(domain, "powerdown")
        else:
            await power.shutdown(domain)
        return Void()

    async def reboot(self, session: Session, args: shapes.DomainFlagsArgs) -> Void:
        domain = self._service.domain(args.dom)
        if _by_agent(args.flags, "reboot"):
            await agent.shut_down(domain, "reboot")
        else:
            await power.reboot(domain)
        return Void()

    async def reset(self, session: Session, args: shapes.DomainFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainReset")
        await power.reset(self._service.domain(args.dom))
        return Void()

    async def suspend(self, session: Session, args: shapes.DomainArgs) -> Void:
        await power.suspend(self._service.domain(args.dom))
        return Void()

    async def resume(self, session: Session, args: shapes.DomainArgs) -> Void:
        await power.resume(self._service.domain(args.dom))
        return Void()


# VIR_DOMAIN_SHUTDOWN_*, VIR_DOMAIN_REBOOT_*: one bit for each way; 0 leaves the choice to the driver.
_WAYS = {4: "initctl", 8: "a signal", 16: "paravirtual means"}


def _either(flags: int, delete: UndefineFlag, keep: UndefineFlag, what: str) -> bool | None:
    """Whether ``what`` is to go with the domain; ``None``: nothing is said of it."""
    if flags & delete and flags & keep:
        raise errors.OperationInvalid(f"cannot both keep and delete {what}")
    return True if flags & delete else False if flags & keep else None


def _by_agent(flags: int, operation: str) -> bool:
    """Whether the agent alone is to be asked; with both bits, or none, the power button does.

    Raises ``errors.ArgumentUnsupported`` for the ways there are not.
    """
    served = ShutdownFlag.ACPI_POWER_BTN | ShutdownFlag.GUEST_AGENT
    no_flags(flags, f"virDomain {operation}", served | sum(_WAYS))
    if flags and not flags & served:
        ways = ", ".join(name for bit, name in _WAYS.items() if flags & bit)
        raise errors.ArgumentUnsupported(f"cannot {operation} a guest by {ways}: only ACPI and agent are supported")
    return flags & served == ShutdownFlag.GUEST_AGENT
