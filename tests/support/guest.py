"""A guest of a test: created on a daemon by virsh, followed, found wherever it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from guests import domain_xml, tiny, watch
from tests.support.daemon import DaemonProcess
from tests.support.virsh import virsh


class Host(Protocol):
    """A daemon on which guests run: one of ours, or somebody else's."""

    name: str

    @property
    def uri(self) -> str: ...


# Small enough to move in a blink, busy enough to be caught when a page is lost.
SMALL = tiny.TinyParameters(mib=16, dirty_mib=8, dirty_mib_s=20, pass_s=0.2)


@dataclass(frozen=True, slots=True)
class RunningGuest:
    """A guest and the one who follows its output, which is the same file wherever it runs."""

    guest: domain_xml.Guest
    watch: watch.SerialWatch

    @property
    def name(self) -> str:
        """The domain's name."""
        return self.guest.name

    @property
    def uuid(self) -> str:
        """The domain's UUID."""
        return str(self.guest.domain.uuid)

    def assert_runs_only_on(self, host: Host, *others: Host) -> None:
        """It runs on ``host``, on none of ``others``, and its memory is what it should be."""
        states = {each.name: state_of(self.uuid, each) for each in (host, *others)}
        assert states[host.name] == "running", f"{self.name}: {states}"
        assert all(states[other.name] in ("", "shut off") for other in others), f"{self.name}: {states}"
        self.watch.wait_verified()


def state_of(domain: str, host: Host) -> str:
    """virsh's word for the domain's state on ``host``; empty when there is no such domain."""
    result = virsh("domstate", domain, uri=host.uri)
    return "" if result.no_domain else result.expect().strip()


@contextmanager
def running_tiny(
    host: DaemonProcess,
    folder: Path,
    name: str = "tiny",
    parameters: tiny.TinyParameters = SMALL,
    *,
    machine: str = "pc",
    boot: str = "kernel",
    persistent: bool = False,
    devices: str = "",
    change: Callable[[str], str] = str,
) -> Iterator[RunningGuest]:
    """A tiny guest that runs on ``host`` (``virsh create``, or ``define`` and ``start``) and has printed lines.

    ``change``: what becomes of its XML. It is not ended here: the hosts' own clean-up does that.
    """
    guest = domain_xml.tiny_guest(folder, name, parameters, machine=machine, boot=boot, devices=devices)
    xml = str(guest.write_xml())
    Path(xml).write_text(change(guest.xml))
    with watch.SerialWatch(guest.serial) as follow:
        if persistent:
            virsh("define", xml, uri=host.uri).expect()
            virsh("start", name, uri=host.uri).expect()
        else:
            virsh("create", xml, uri=host.uri).expect()
        follow.wait_running()
        yield RunningGuest(guest, follow)
