"""Devices plugged in, plugged out, changed."""

from __future__ import annotations

from culvert.daemon.service import Service, no_flags
from culvert.drivers.qemu import hotplug
from culvert.ground import errors
from culvert.protocol import remote_change
from culvert.protocol.constants_flag import AffectFlag
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

IMPACT = AffectFlag.LIVE | AffectFlag.CONFIG
FORCE = 4  # VIR_DOMAIN_DEVICE_MODIFY_FORCE


class DeviceHandlers:
    """Handlers of the device group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_change.DOMAIN_ATTACH_DEVICE, self.attach)
        handlers.add(remote_change.DOMAIN_ATTACH_DEVICE_FLAGS, self.attach_flags)
        handlers.add(remote_change.DOMAIN_DETACH_DEVICE, self.detach)
        handlers.add(remote_change.DOMAIN_DETACH_DEVICE_FLAGS, self.detach_flags)
        handlers.add(remote_change.DOMAIN_DETACH_DEVICE_ALIAS, self.detach_alias)
        handlers.add(remote_change.DOMAIN_UPDATE_DEVICE_FLAGS, self.update_flags)

    async def attach(self, session: Session, args: remote_change.DomainDeviceArgs) -> Void:
        await hotplug.attach(self._service.driver, self._service.domain(args.dom), args.xml, AffectFlag.LIVE)
        return Void()

    async def attach_flags(self, session: Session, args: remote_change.DomainDeviceFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainAttachDeviceFlags", IMPACT)
        await hotplug.attach(self._service.driver, self._service.domain(args.dom), args.xml, args.flags)
        return Void()

    async def detach(self, session: Session, args: remote_change.DomainDeviceArgs) -> Void:
        await hotplug.detach(self._service.driver, self._service.domain(args.dom), args.xml, AffectFlag.LIVE)
        return Void()

    async def detach_flags(self, session: Session, args: remote_change.DomainDeviceFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainDetachDeviceFlags", IMPACT)
        await hotplug.detach(self._service.driver, self._service.domain(args.dom), args.xml, args.flags)
        return Void()

    async def detach_alias(self, session: Session, args: remote_change.DomainDeviceAliasArgs) -> Void:
        no_flags(args.flags, "qemuDomainDetachDeviceAlias", IMPACT)
        if args.flags & AffectFlag.CONFIG:
            raise errors.ArgumentUnsupported("a device of the persistent definition has no alias: name it by its XML")
        await hotplug.detach_alias(self._service.domain(args.dom), args.alias)
        return Void()

    async def update_flags(self, session: Session, args: remote_change.DomainDeviceFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainUpdateDeviceFlags", IMPACT | FORCE)
        await hotplug.update(
            self._service.driver,
            self._service.domain(args.dom),
            args.xml,
            args.flags & IMPACT,
            force=bool(args.flags & FORCE),
        )
        return Void()
