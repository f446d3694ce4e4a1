"""Everything that a guest's agent tells of it, as ``virDomainGetGuestInfo`` has it: numbered names and their values.

Source: include/libvirt/libvirt-domain.h of libvirt 12.9 (VIR_DOMAIN_GUEST_INFO_*) for the names and what each holds;
qga/qapi-schema.json of QEMU for what the agent answers. What the guest's drivers are (DEVICES, libvirt 12.7) is not
told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from culvert.daemon.handlers import guest
from culvert.daemon.service import Service, no_flags
from culvert.domain.disk import Disk
from culvert.drivers.qemu import agent
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.protocol import remote_guest
from culvert.protocol.types import TypedParam, TypedParamType
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session

Told = Iterator[TypedParam]

MILLISECONDS = 1000  # libvirt's login time, of the agent's seconds
OS = ("id", "name", "pretty-name", "version", "version-id", "machine", "variant", "variant-id")
KERNEL = ("kernel-release", "kernel-version")
LOADS = ("1m", "5m", "15m")
FAMILIES = {0: "ipv4", 1: "ipv6"}


def _text(name: str, value: object) -> Told:
    """Nothing for what the agent has not told."""
    if value is not None:
        yield TypedParam(name, (TypedParamType.STRING, str(value)))


def _size(name: str, value: Any) -> Told:
    if value is not None:
        yield TypedParam(name, (TypedParamType.ULLONG, int(value)))


def _count(name: str, value: int) -> Told:
    yield TypedParam(name, (TypedParamType.UINT, value))


def users(told: Sequence[Mapping[str, Any]], disks: Sequence[Disk]) -> Told:
    yield from _count("user.count", len(told))
    for number, one in enumerate(told):
        yield from _text(f"user.{number}.name", one["user"])
        yield from _text(f"user.{number}.domain", one.get("domain"))
        yield from _size(f"user.{number}.login-time", float(one["login-time"]) * MILLISECONDS)


def system(told: Mapping[str, Any], disks: Sequence[Disk]) -> Told:
    for name in (*OS, *KERNEL):
        yield from _text(f"os.{name}", told.get(name))


def timezone(told: Mapping[str, Any], disks: Sequence[Disk]) -> Told:
    yield from _text("timezone.name", told.get("zone"))
    yield TypedParam("timezone.offset", (TypedParamType.INT, int(told["offset"])))


def hostname(told: Mapping[str, Any], disks: Sequence[Disk]) -> Told:
    yield from _text("hostname", told["host-name"])


def file_systems(told: Sequence[Mapping[str, Any]], disks: Sequence[Disk]) -> Told:
    yield from _count("fs.count", len(told))
    for number, one in enumerate(told):
        yield from _text(f"fs.{number}.name", one["name"])
        yield from _text(f"fs.{number}.mountpoint", one["mountpoint"])
        yield from _text(f"fs.{number}.fstype", one["type"])
        yield from _size(f"fs.{number}.total-bytes", one.get("total-bytes"))
        yield from _size(f"fs.{number}.used-bytes", one.get("used-bytes"))
        below = one.get("disk", ())
        yield from _count(f"fs.{number}.disk.count", len(below))
        for place, disk in enumerate(below):
            yield from _text(f"fs.{number}.disk.{place}.alias", guest.target(disks, disk))
            yield from _text(f"fs.{number}.disk.{place}.serial", disk.get("serial"))
            yield from _text(f"fs.{number}.disk.{place}.device", disk.get("dev"))


def guest_disks(told: Sequence[Mapping[str, Any]], disks: Sequence[Disk]) -> Told:
    yield from _count("disk.count", len(told))
    for number, one in enumerate(told):
        yield from _text(f"disk.{number}.name", one["name"])
        yield TypedParam(f"disk.{number}.partition", (TypedParamType.BOOLEAN, int(bool(one["partition"]))))
        needs = one.get("dependencies", ())
        if needs:
            yield from _count(f"disk.{number}.dependency.count", len(needs))
        for place, name in enumerate(needs):
            yield from _text(f"disk.{number}.dependency.{place}.name", name)
        if (address := one.get("address")) is not None:
            yield from _text(f"disk.{number}.serial", address.get("serial"))
            yield from _text(f"disk.{number}.alias", guest.target(disks, address))
            yield from _text(f"disk.{number}.guest_bus", address.get("bus-type"))
        yield from _text(f"disk.{number}.guest_alias", one.get("alias"))


def cards(told: list[Mapping[str, Any]], disks: Sequence[Disk]) -> Told:
    found = list(guest.interfaces(told))
    yield from _count("if.count", len(found))
    for number, card in enumerate(found):
        yield from _text(f"if.{number}.name", card.name)
        yield from _text(f"if.{number}.hwaddr", card.hwaddr)
        yield from _count(f"if.{number}.addr.count", len(card.addrs))
        for place, address in enumerate(card.addrs):
            yield from _text(f"if.{number}.addr.{place}.type", FAMILIES[address.type])
            yield from _text(f"if.{number}.addr.{place}.addr", address.addr)
            yield from _count(f"if.{number}.addr.{place}.prefix", address.prefix)


def load(told: Mapping[str, Any], disks: Sequence[Disk]) -> Told:
    for name in LOADS:
        yield TypedParam(f"load.{name}", (TypedParamType.DOUBLE, float(told[f"load{name}"])))


KINDS: dict[int, tuple[str, Callable[[Any, Sequence[Disk]], Told]]] = {
    1 << 0: ("guest-get-users", users),
    1 << 1: ("guest-get-osinfo", system),
    1 << 2: ("guest-get-timezone", timezone),
    1 << 3: ("guest-get-host-name", hostname),
    1 << 4: ("guest-get-fsinfo", file_systems),
    1 << 5: ("guest-get-disks", guest_disks),
    1 << 6: ("guest-network-get-interfaces", cards),
    1 << 7: ("guest-get-load", load),
}
"""VIR_DOMAIN_GUEST_INFO_*, the agent's command, and what is made of its answer."""


class GuestInfoHandlers:
    """The handler of what the agent tells all at once."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_guest.DOMAIN_GET_GUEST_INFO, self.get_guest_info)

    async def get_guest_info(
        self, session: Session, args: remote_guest.DomainGuestInfoArgs
    ) -> remote_guest.GuestInfoRet:
        no_flags(args.flags, "qemuDomainGetGuestInfo")
        domain = self._service.domain(args.dom)
        told = await ask(domain, args.types)
        with agent.believed(domain, "guest-get-osinfo"):
            return guest.sound(remote_guest.GuestInfoRet(told))


async def ask(domain: Domain, types: int) -> list[TypedParam]:
    """What the agent tells of ``types``; 0: all that it can tell, and then what it has no command for is left out.

    Raises ``errors.InvalidArgument`` for kinds that there are not, else what ``agent.execute`` raises.
    """
    if unknown := types & ~sum(KINDS):
        raise errors.InvalidArgument(f"invalid argument: unsupported guest information types '0x{unknown:x}'")
    disks = domain.require_active().definition.devices.disks
    found: list[TypedParam] = []
    for kind, (command, made) in KINDS.items():
        if types and not types & kind:
            continue
        try:
            told = await agent.execute(domain, command)
        except errors.OperationFailed:
            if types:
                raise
            continue
        with agent.believed(domain, command):
            found += made(told, disks)
    return found
