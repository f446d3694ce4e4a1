"""What an agent tells of its guest, as numbered names and values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from culvert.daemon.handlers import guest_info
from culvert.domain import parse
from culvert.domain.disk import Disk
from culvert.drivers.qemu import agent
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.protocol.types import TypedParamType

PCI = {"domain": 0, "bus": 2, "slot": 1, "function": 0}
ADDRESS = {"bus-type": "virtio", "pci-controller": PCI, "bus": 0, "target": 0, "unit": 0}

# The agent's command, its answer, and what a client is told: names and values.
ANSWERS: dict[str, tuple[Any, dict[str, object]]] = {
    "guest-get-users": (
        [{"user": "root", "login-time": 1700000000.25}, {"user": "u", "domain": "D", "login-time": 1}],
        {
            "user.count": 2,
            "user.0.name": "root",
            "user.0.login-time": 1700000000250,
            "user.1.name": "u",
            "user.1.domain": "D",
            "user.1.login-time": 1000,
        },
    ),
    "guest-get-osinfo": (
        {"id": "debian", "pretty-name": "Debian 13", "kernel-release": "6.12", "else": "x"},
        {"os.id": "debian", "os.pretty-name": "Debian 13", "os.kernel-release": "6.12"},
    ),
    "guest-get-timezone": ({"offset": -3600}, {"timezone.offset": -3600}),
    "guest-get-host-name": ({"host-name": "vm"}, {"hostname": "vm"}),
    "guest-get-fsinfo": (
        [
            {
                "name": "vda1",
                "mountpoint": "/",
                "type": "ext4",
                "total-bytes": 2**40,
                "used-bytes": 7,
                "disk": [{**ADDRESS, "dev": "/dev/vda1", "serial": "s"}, {**ADDRESS, "bus-type": "sata"}],
            },
            {"name": "tmp", "mountpoint": "/tmp", "type": "tmpfs"},
        ],
        {
            "fs.count": 2,
            "fs.0.name": "vda1",
            "fs.0.mountpoint": "/",
            "fs.0.fstype": "ext4",
            "fs.0.total-bytes": 2**40,
            "fs.0.used-bytes": 7,
            "fs.0.disk.count": 2,
            "fs.0.disk.0.alias": "vda",
            "fs.0.disk.0.serial": "s",
            "fs.0.disk.0.device": "/dev/vda1",
            "fs.0.disk.1.alias": "vda",
            "fs.1.name": "tmp",
            "fs.1.mountpoint": "/tmp",
            "fs.1.fstype": "tmpfs",
            "fs.1.disk.count": 0,
        },
    ),
    "guest-get-disks": (
        [
            {"name": "/dev/vda", "partition": False, "address": ADDRESS, "alias": "sys"},
            {"name": "/dev/vda1", "partition": True, "dependencies": ["/dev/vda"]},
        ],
        {
            "disk.count": 2,
            "disk.0.name": "/dev/vda",
            "disk.0.partition": 0,
            "disk.0.alias": "vda",
            "disk.0.guest_bus": "virtio",
            "disk.0.guest_alias": "sys",
            "disk.1.name": "/dev/vda1",
            "disk.1.partition": 1,
            "disk.1.dependency.count": 1,
            "disk.1.dependency.0.name": "/dev/vda",
        },
    ),
    "guest-network-get-interfaces": (
        [{"name": "lo", "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": "127.0.0.1", "prefix": 8}]}],
        {
            "if.count": 1,
            "if.0.name": "lo",
            "if.0.addr.count": 1,
            "if.0.addr.0.type": "ipv4",
            "if.0.addr.0.addr": "127.0.0.1",
            "if.0.addr.0.prefix": 8,
        },
    ),
    "guest-get-load": (
        {"load1m": 0.5, "load5m": 1, "load15m": 0},
        {"load.1m": 0.5, "load.5m": 1.0, "load.15m": 0.0},
    ),
}


def disks() -> Sequence[Disk]:
    text = (
        "<domain type='qemu'><name>g</name><memory>1</memory><os><type>hvm</type></os><devices><disk type='file'>"
        "<source file='/a'/><target dev='vda' bus='virtio'/>"
        "<address type='pci' domain='0x0000' bus='0x02' slot='0x01' function='0x0'/></disk></devices></domain>"
    )
    return parse.parse(text).devices.disks


@contextmanager
def answering(monkeypatch: pytest.MonkeyPatch, known: Sequence[str]) -> Iterator[Domain]:
    """A guest whose agent has these commands."""

    async def execute(domain: Domain, name: str, **arguments: object) -> Any:
        if name not in known:
            raise errors.OperationFailed(f"The command {name} has not been found")
        return ANSWERS[name][0]

    run = SimpleNamespace(definition=SimpleNamespace(devices=SimpleNamespace(disks=disks())))
    monkeypatch.setattr(agent, "execute", execute)
    yield cast(Domain, SimpleNamespace(name="g", require_active=lambda: run))


async def test_everything_that_it_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(monkeypatch, list(ANSWERS)) as domain:
        told = await guest_info.ask(domain, 0)
    wanted = {name: value for _, values in ANSWERS.values() for name, value in values.items()}
    assert {param.field: param.value[1] for param in told} == wanted
    kinds = {param.field: TypedParamType(param.value[0]).name for param in told}
    assert (kinds["user.count"], kinds["user.0.login-time"], kinds["timezone.offset"]) == ("UINT", "ULLONG", "INT")
    assert (kinds["fs.0.total-bytes"], kinds["disk.0.partition"], kinds["load.1m"]) == ("ULLONG", "BOOLEAN", "DOUBLE")


@pytest.mark.parametrize("bit", range(8))
async def test_each_alone(monkeypatch: pytest.MonkeyPatch, bit: int) -> None:
    command, _ = guest_info.KINDS[1 << bit]
    with answering(monkeypatch, [command]) as domain:
        told = await guest_info.ask(domain, 1 << bit)
        assert {param.field: param.value[1] for param in told} == ANSWERS[command][1]
        assert await guest_info.ask(domain, 0) == told  # what it has no command for is left out
        with pytest.raises(errors.OperationFailed, match="has not been found"):  # unless it is asked for
            await guest_info.ask(domain, sum(guest_info.KINDS))


async def test_kinds_that_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(monkeypatch, []) as domain, pytest.raises(errors.InvalidArgument, match="types '0x100'"):
        await guest_info.ask(domain, 0x101)
