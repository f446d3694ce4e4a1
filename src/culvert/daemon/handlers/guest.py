"""What is known of the guest by its agent, and by the host: its name, its addresses, its clock, its file systems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from culvert.daemon.service import Service, no_flags
from culvert.domain.address import DriveAddress, PciAddress
from culvert.domain.disk import Disk
from culvert.drivers.qemu import agent, card_addresses
from culvert.drivers.qemu.card_addresses import CardAddresses
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.protocol import remote_guest, shapes
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void, encode

T = TypeVar("T")

SECOND = 1_000_000_000  # ns
BY_LEASE, BY_AGENT, BY_ARP = 0, 1, 2  # VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_*
NAME_BY_LEASE, NAME_BY_AGENT = 1, 2  # VIR_DOMAIN_GET_HOSTNAME_*
FROM_CLOCK = 1  # VIR_DOMAIN_TIME_SYNC: from the guest's own clock
PCI_MEMBERS = ("domain", "bus", "slot", "function")
DRIVE_MEMBERS = ("bus", "target", "unit")
FAMILIES = {"ipv4": 0, "ipv6": 1}  # VIR_IP_ADDR_TYPE_*


class GuestHandlers:
    """Handlers of the guest group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_guest.DOMAIN_GET_HOSTNAME, self.get_hostname)
        handlers.add(remote_guest.DOMAIN_INTERFACE_ADDRESSES, self.interface_addresses)
        handlers.add(remote_guest.DOMAIN_GET_TIME, self.get_time)
        handlers.add(remote_guest.DOMAIN_SET_TIME, self.set_time)
        handlers.add(remote_guest.DOMAIN_FSFREEZE, self.fs_freeze)
        handlers.add(remote_guest.DOMAIN_FSTHAW, self.fs_thaw)
        handlers.add(remote_guest.DOMAIN_GET_FSINFO, self.get_fs_info)
        handlers.add(remote_guest.DOMAIN_FSTRIM, self.fs_trim)

    async def get_hostname(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_guest.GuestHostnameRet:
        no_flags(args.flags, "qemuDomainGetHostname", NAME_BY_LEASE | NAME_BY_AGENT)
        domain = self._service.domain(args.dom)
        if args.flags & NAME_BY_LEASE:
            return remote_guest.GuestHostnameRet(await card_addresses.hostname(domain))
        told = await agent.execute(domain, "guest-get-host-name")
        with agent.believed(domain, "guest-get-host-name"):
            return sound(remote_guest.GuestHostnameRet(str(told["host-name"])))

    async def interface_addresses(
        self, session: Session, args: remote_guest.DomainInterfaceAddressesArgs
    ) -> remote_guest.GuestInterfacesRet:
        no_flags(args.flags, "qemuDomainInterfaceAddresses")
        domain = self._service.domain(args.dom)
        domain.require_active()
        if args.source == BY_LEASE:
            return remote_guest.GuestInterfacesRet(_on_host(await card_addresses.by_lease(domain)))
        if args.source == BY_ARP:
            return remote_guest.GuestInterfacesRet(_on_host(await card_addresses.by_arp(domain)))
        if args.source != BY_AGENT:
            raise errors.ArgumentUnsupported(f"Unsupported IP address data source {args.source}")
        told = await agent.execute(domain, "guest-network-get-interfaces")
        with agent.believed(domain, "guest-network-get-interfaces"):
            return sound(remote_guest.GuestInterfacesRet(list(interfaces(told))))

    async def get_time(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_guest.TimeRet:
        no_flags(args.flags, "qemuDomainGetTime")
        domain = self._service.domain(args.dom)
        told = await agent.execute(domain, "guest-get-time")
        with agent.believed(domain, "guest-get-time"):
            return sound(remote_guest.TimeRet(*divmod(int(told), SECOND)))

    async def set_time(self, session: Session, args: remote_guest.DomainSetTimeArgs) -> Void:
        no_flags(args.flags, "qemuDomainSetTime", FROM_CLOCK)
        domain = self._service.domain(args.dom)
        given = {} if args.flags & FROM_CLOCK else {"time": args.seconds * SECOND + args.nseconds}
        await agent.execute(domain, "guest-set-time", **given)
        return Void()

    async def fs_freeze(
        self, session: Session, args: remote_guest.DomainMountpointsArgs
    ) -> remote_guest.FilesystemsRet:
        no_flags(args.flags, "qemuDomainFSFreeze")
        domain = self._service.domain(args.dom)
        if not args.mountpoints:
            return await _counted(domain, "guest-fsfreeze-freeze")
        return await _counted(domain, "guest-fsfreeze-freeze-list", mountpoints=args.mountpoints)

    async def fs_thaw(
        self, session: Session, args: remote_guest.DomainMountpointsArgs
    ) -> remote_guest.FilesystemsRet:
        no_flags(args.flags, "qemuDomainFSThaw")
        if args.mountpoints:
            raise errors.ArgumentUnsupported("specifying mountpoints is not supported")
        return await _counted(self._service.domain(args.dom), "guest-fsfreeze-thaw")

    async def get_fs_info(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_guest.FSInfoRet:
        no_flags(args.flags, "qemuDomainGetFSInfo")
        domain = self._service.domain(args.dom)
        disks = domain.require_active().definition.devices.disks
        told = await agent.execute(domain, "guest-get-fsinfo")
        with agent.believed(domain, "guest-get-fsinfo"):
            found = list(file_systems(told, disks))
            return sound(remote_guest.FSInfoRet(found, len(found)))

    async def fs_trim(self, session: Session, args: remote_guest.DomainFSTrimArgs) -> Void:
        no_flags(args.flags, "qemuDomainFSTrim")
        if args.mount_point is not None:
            raise errors.ArgumentUnsupported("Specifying mount point is not supported for now")
        await agent.execute(self._service.domain(args.dom), "guest-fstrim", minimum=args.minimum)
        return Void()


async def _counted(domain: Domain, name: str, **arguments: object) -> remote_guest.FilesystemsRet:
    told = await agent.execute(domain, name, **arguments)
    with agent.believed(domain, name):
        return sound(remote_guest.FilesystemsRet(int(told)))


def sound(answer: T) -> T:
    """``answer``, which can travel. Raises ``XdrError`` when what the guest has said does not go into it."""
    encode(answer)
    return answer


def _on_host(cards: Sequence[CardAddresses]) -> list[remote_guest.GuestInterface]:
    """What the host knows of the cards' addresses, as it travels."""
    return [
        remote_guest.GuestInterface(
            card.name,
            card.mac,
            [
                remote_guest.IPAddress(FAMILIES["ipv6" if ":" in address else "ipv4"], address, prefix)
                for address, prefix in card.addresses
            ],
        )
        for card in cards
    ]


def interfaces(told: list[Mapping[str, Any]]) -> Iterator[remote_guest.GuestInterface]:
    """The answer to ``guest-network-get-interfaces`` as it travels."""
    for one in told:
        addresses = [
            remote_guest.IPAddress(FAMILIES[each["ip-address-type"]], str(each["ip-address"]), int(each["prefix"]))
            for each in one.get("ip-addresses", ())
            if each.get("ip-address-type") in FAMILIES
        ]
        yield remote_guest.GuestInterface(str(one["name"]), one.get("hardware-address"), addresses)


def file_systems(told: list[Mapping[str, Any]], disks: Sequence[Disk]) -> Iterator[remote_guest.FSInfo]:
    """The answer to ``guest-get-fsinfo`` as it travels; ``disks`` are what the guest has."""
    for one in told:
        targets = [target(disks, each) for each in one.get("disk", ())]
        yield remote_guest.FSInfo(
            str(one["mountpoint"]), str(one["name"]), str(one["type"]), [name for name in targets if name]
        )


def target(disks: Sequence[Disk], told: Mapping[str, Any]) -> str | None:
    """The target of the disk that the guest sees at this address (GuestDiskAddress of QEMU's qga schema)."""
    pci = told.get("pci-controller", {})
    for disk in disks:
        match disk.address:
            case PciAddress(domain=domain, bus=bus, slot=slot, function=function):
                if (domain, bus, slot, function) == tuple(pci.get(name) for name in PCI_MEMBERS):
                    return disk.target.dev
            case DriveAddress(bus=bus, target=target, unit=unit):
                if told.get("bus-type") == disk.bus and (bus, target, unit) == tuple(
                    told.get(name) for name in DRIVE_MEMBERS
                ):
                    return disk.target.dev
    return None
