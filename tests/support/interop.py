"""A culvert and a stock libvirtd beside each other, and guests that both can run.

Such guests have whole MiB of RAM, for libvirt has no other, and so meet a fault of QEMU 7.2 under TCG: a guest that
writes while it migrates in several iterations arrives with stale pages (``guests.domain_xml.SPARED_KIB``). It needs
one iteration to be safe, which a long ``downtime-limit`` makes certain: after the first pass everything that was
written meanwhile goes in the standstill at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from guests import domain_xml, tiny, watch
from tests.support.daemon import DaemonProcess
from tests.support.guest import RunningGuest
from tests.support.libvirtd import NEEDS, Libvirtd, possible
from tests.support.pki import Holder, Pki
from tests.support.virsh import Result, virsh

Either = DaemonProcess | Libvirtd

P2P = ("--live", "--p2p", "--tunnelled")
# As a host of its own name: libvirt refuses to be told a migration host that is this machine.
MIGRATION_HOST = 'migration_host = "127.0.0.2"\n'
ONE_ITERATION = "60000"  # milliseconds of downtime-limit

IDLE = tiny.TinyParameters(mib=16, dirty_mib=0)
DIRTYING = tiny.TinyParameters(mib=16, dirty_mib=8, dirty_mib_s=20, pass_s=0.2)

RICH = """<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>
    <graphics type='vnc' autoport='yes' listen='127.0.0.1'/><video><model type='vga'/></video>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"""


@dataclass
class Pair:
    """The two, each with certificates of one authority."""

    culvert: DaemonProcess
    stock: Libvirtd
    holders: dict[str, Holder]

    def other(self, host: Either) -> Either:
        """The one that is not ``host``."""
        return self.stock if host is self.culvert else self.culvert

    def uri(self, host: Either, *, tls: bool = False, port: int = 0) -> str:
        """How the other one reaches ``host``; ``port``: through a proxy."""
        if tls:
            return host.tls_uri(port=port, pkipath=self.holders[self.other(host).name].folder)
        return host.uri_by(port) if port else host.tcp_uri

    def migrate(self, guest: RunningGuest, source: Either, *options: str, tls: bool = False, port: int = 0) -> Result:
        """Move ``guest`` from ``source`` to the other in one iteration; ``options`` in the place of ``P2P``."""
        virsh("migrate-setmaxdowntime", guest.name, ONE_ITERATION, uri=source.uri).expect()
        there = self.uri(self.other(source), tls=tls, port=port)
        return virsh("migrate", *(options or P2P), "--unsafe", guest.name, there, uri=source.uri)

    def move(self, guest: RunningGuest, source: Either, *options: str, tls: bool = False) -> None:
        """``migrate``, and the guest then runs there alone, with its memory whole, and nothing of it stays behind."""
        result = self.migrate(guest, source, *options, tls=tls)
        assert result.ok, f"{result.err}\n{self.log_tail()}"
        guest.assert_runs_only_on(self.other(source), source)
        source.assert_no_leftovers()

    def log_tail(self) -> str:
        """What both have to say."""
        return f"{self.culvert.log_tail()}\n{self.stock.log_tail()}"


@contextmanager
def pair(folder: Path, *, config: str = "", stock_config: str = "", stock_qemu: str = "") -> Iterator[Pair]:
    """Both, running; ``config`` and the others are more lines for their files. Skips where there can be none."""
    if not possible():
        pytest.skip(NEEDS)
    pki = Pki(folder / "pki")
    holders = {name: pki.holder(name) for name in ("culvert", "libvirt")}
    (folder / "c").mkdir()
    settings = f"{MIGRATION_HOST}{stock_qemu}"
    with (
        DaemonProcess(
            folder / "c", name="culvert", config=f"{config}\n{holders['culvert'].config()}", tls=True
        ) as culvert,
        Libvirtd(
            folder / "l", name="libvirt", tls=holders["libvirt"], config=stock_config, qemu_config=settings
        ) as stock,
    ):
        yield Pair(culvert, stock, holders)


def guest(
    folder: Path,
    name: str,
    parameters: tiny.TinyParameters = IDLE,
    *,
    machine: str = "pc",
    rich: bool = False,
    members: Mapping[str, str] | None = None,
) -> domain_xml.Guest:
    """A guest for both, its files in ``folder``; ``rich``: disk, network, screen, balloon, random numbers.

    ``members``: other ones of ``DomainXML``.
    """
    boot = "disk" if rich else "kernel"
    made = domain_xml.tiny_guest(folder, name, parameters, machine=machine, boot=boot)
    texts = {**({"balloon": "virtio", "usb": "", "devices": RICH} if rich else {}), **(members or {})}
    domain = replace(made.domain, memory_kib=parameters.memory_mib * 1024, **texts)  # type: ignore[arg-type]  # texts
    return replace(made, domain=domain)


@contextmanager
def running(
    host: Either,
    folder: Path,
    name: str = "tiny",
    parameters: tiny.TinyParameters = IDLE,
    *,
    machine: str = "pc",
    rich: bool = False,
    members: Mapping[str, str] | None = None,
) -> Iterator[RunningGuest]:
    """``guest``, created on ``host``, that has printed lines. It is ended on both hosts by their own clean-up."""
    made = guest(folder, name, parameters, machine=machine, rich=rich, members=members)
    with watch.SerialWatch(made.serial) as follow:
        virsh("create", str(made.write_xml()), uri=host.uri).expect()
        follow.wait_running()
        yield RunningGuest(made, follow)
