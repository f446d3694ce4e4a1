"""``<domainsnapshot>``: a guest as it was, disks, memory and definition.

Source: libvirt docs/formatsnapshot; conf/snapshot_conf.c of libvirt 9.0, qemu/qemu_snapshot.c for what is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from lxml import etree

from culvert.domain import aliases, binding, xml
from culvert.domain import format as xml_format
from culvert.domain import parse as xml_parse
from culvert.domain.binding import BLANK, attribute, child, children, leaf, lone
from culvert.domain.cpu import Cpu
from culvert.domain.definition import DomainDef
from culvert.domain.disk import Disk
from culvert.domain.loader import PFLASH
from culvert.domain.scalars import ANY_TEXT, TEXT, ULONG, one_of
from culvert.ground import errors

ROOT = "domainsnapshot"
RUNNING, PAUSED, SHUTOFF = "running", "paused", "shutoff"
LIVE = frozenset({RUNNING, PAUSED})
STATES = (*("nostate", RUNNING, "blocked", PAUSED, "shutdown", SHUTOFF, "crashed", "pmsuspended", "disk-snapshot"),)
INTERNAL, NO, EXTERNAL = "internal", "no", "external"
WHERE = one_of(INTERNAL, NO, EXTERNAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The snapshot that the guest was begun from before this one was made."""

    name: Annotated[str, leaf("name", TEXT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotMemory:
    """Where the guest's memory is."""

    snapshot: Annotated[str | None, attribute("snapshot", WHERE)] = None
    file: Annotated[str | None, attribute("file", TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDisk:
    """One disk, by its target, and where what it held is."""

    name: Annotated[str, attribute("name", TEXT)]
    snapshot: Annotated[str | None, attribute("snapshot", WHERE)] = None
    type: Annotated[str | None, attribute("type", TEXT)] = None
    driver: Annotated[str | None, lone("driver", "type", TEXT)] = None
    source: Annotated[str | None, lone("source", "file", TEXT)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDisks:
    """All of them."""

    disks: Annotated[tuple[SnapshotDisk, ...], children("disk", SnapshotDisk)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is said of a snapshot, but for the definitions in it."""

    name: Annotated[str | None, leaf("name", ANY_TEXT, silent=BLANK)] = None
    description: Annotated[str | None, leaf("description", ANY_TEXT)] = None
    state: Annotated[str | None, leaf("state", ANY_TEXT)] = None
    parent: Annotated[Parent | None, child("parent", Parent)] = None
    created: Annotated[int | None, leaf("creationTime", ULONG)] = None
    memory: Annotated[SnapshotMemory | None, child("memory", SnapshotMemory)] = None
    disks: Annotated[SnapshotDisks | None, child("disks", SnapshotDisks)] = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot. ``definition``: the guest's when it was made, or of its next start then; ``inactive``: that of its
    next start, where the guest ran; ``cpu``: the processor that it had."""

    head: Head
    definition: DomainDef | None = None
    inactive: DomainDef | None = None
    cpu: Cpu | None = None

    @property
    def name(self) -> str:
        return self.head.name or ""

    @property
    def parent(self) -> str | None:
        return self.head.parent.name if self.head.parent else None

    @property
    def state(self) -> str:
        return self.head.state or SHUTOFF

    @property
    def is_live(self) -> bool:
        """It has the guest's memory."""
        return self.state in LIVE

    @property
    def disks(self) -> tuple[SnapshotDisk, ...]:
        return self.head.disks.disks if self.head.disks else ()

    @property
    def is_external(self) -> bool:
        """Something of it is in files of its own: of another daemon's making."""
        memory = self.head.memory.snapshot if self.head.memory else None
        return memory == EXTERNAL or any(disk.snapshot == EXTERNAL for disk in self.disks)

    def with_parent(self, name: str | None) -> Snapshot:
        """The same below another snapshot, or none."""
        return replace(self, head=replace(self.head, parent=Parent(name=name) if name else None))


def parse(text: str, *, redefine: bool = False) -> Snapshot:
    """Read a description; ``redefine``: one that was shown, which says of itself what it is.

    Raises ``errors.XMLError``, ``errors.ConfigUnsupported``, ``errors.InternalError`` for what is missing.
    """
    root = xml.read(text)
    if root.tag != ROOT:
        raise errors.XMLError(f"XML error: unexpected root element <{root.tag}>, expecting <{ROOT}>")
    inner = {tag: _taken(root, tag) for tag in ("domain", "inactiveDomain", "cookie", "active")}
    if not redefine:
        for tag in ("state", "parent", "creationTime"):
            _taken(root, tag)
    head = binding.read(Head, root, f"/{ROOT}")
    if not redefine:
        return Snapshot(head)
    if head.name is None:
        raise errors.XMLError("XML error: a redefined snapshot must have a name")
    if head.created is None:
        raise errors.InternalError("missing creationTime from existing snapshot")
    if head.state is None:
        raise errors.XMLError("XML error: missing state from existing snapshot")
    if head.state not in STATES:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: Invalid state '{head.state}' in domain snapshot XML"
        )
    memory = head.memory or SnapshotMemory(snapshot=INTERNAL if head.state in LIVE else NO)
    return Snapshot(
        replace(head, memory=memory),
        _definition(inner["domain"]),
        _definition(inner["inactiveDomain"]),
        _cpu(inner["cookie"]),
    )


def is_current(text: str) -> bool:
    """Whether a kept description says that the guest was begun from it."""
    root = xml.read(text)
    return (root.findtext("active") or "").strip() == "1"


def _taken(root: etree._Element, tag: str) -> etree._Element | None:
    found = root.find(tag)
    if found is not None:
        root.remove(found)
    return found


def _definition(element: etree._Element | None) -> DomainDef | None:
    """None where only a UUID is said, as libvirt did before 0.9.5."""
    if element is None or element.get("type") is None:
        return None
    element.tag = "domain"
    return xml_parse.parse(etree.tostring(element, encoding="unicode", with_tail=False))


def _cpu(cookie: etree._Element | None) -> Cpu | None:
    cpu = cookie.find("cpu") if cookie is not None else None
    return None if cpu is None else binding.read(Cpu, cpu, "/cpu")


def format(snapshot: Snapshot, *, uuid: str, secure: bool = False, current: bool | None = None) -> str:
    """The XML of ``snapshot`` of the domain ``uuid``; ``current``, of the one that is kept: whether the guest was
    begun from it last."""
    node = binding.write(snapshot.head, ROOT)
    if snapshot.definition is not None:
        node.children.append(xml_format.node(snapshot.definition, "domain", secure=secure))
    else:
        node.children.append(xml.Node("domain", children=[xml.Node("uuid", text=uuid)]))
    if snapshot.inactive is not None:
        node.children.append(xml_format.node(snapshot.inactive, "inactiveDomain", secure=secure))
    if snapshot.cpu is not None:
        cookie = [binding.write(snapshot.cpu, "cpu"), xml.Node("slirpHelper")]
        node.children.append(xml.Node("cookie", children=[*cookie]))
    if current is not None:
        node.children.append(xml.Node("active", text=str(int(current))))
    return xml.render(node)


def check_name(name: str) -> None:
    """Raises ``errors.XMLDetail`` for what cannot be the name of a file."""
    if "/" in name:
        raise errors.XMLDetail(f"invalid snapshot name '{name}': name can't contain '/'")
    if name.startswith("."):
        raise errors.XMLDetail(f"invalid snapshot name '{name}': name can't start with '.'")
    if any(ord(letter) < 32 for letter in name) or len(name.encode()) > 240:
        raise errors.XMLDetail(f"invalid snapshot name '{name}': it cannot be the name of a file")


def made(
    wanted: Snapshot,
    definition: DomainDef,
    *,
    state: str,
    now: int,
    parent: str | None,
    inactive: DomainDef | None = None,
    cpu: Cpu | None = None,
) -> Snapshot:
    """What is to be made of ``wanted`` for a guest of ``definition``, in ``state``, all disks in it.

    Raises ``errors.ConfigUnsupported``, ``errors.OperationUnsupported`` for what cannot be (qemuSnapshotPrepare).
    """
    memory = wanted.head.memory.snapshot if wanted.head.memory else None
    if wanted.is_external or (wanted.head.memory and wanted.head.memory.file):
        raise errors.ConfigUnsupported(
            "unsupported configuration: external snapshots are not supported by culvert: /domainsnapshot/memory"
        )
    live = state in LIVE
    if live and memory == NO:
        raise errors.OperationUnsupported("internal snapshot of a running VM must include the memory state")
    if not live and memory == INTERNAL:
        raise errors.XMLError("XML error: memory state cannot be saved with offline or disk-only snapshot")
    if definition.os.firmware == "efi" or (definition.os.loader and definition.os.loader.type == PFLASH):
        raise errors.OperationUnsupported(
            "internal snapshots of a VM with pflash based firmware are not supported"  # its variables are not in them
        )
    disks = tuple(_disks(wanted, definition))
    _check_disks(disks, definition, live=live)
    head = replace(
        wanted.head,
        name=wanted.head.name or str(now),
        state=state,
        parent=Parent(name=parent) if parent else None,
        created=now,
        memory=SnapshotMemory(snapshot=INTERNAL if live else NO),
        disks=SnapshotDisks(disks=disks) if disks else None,
    )
    return Snapshot(head, aliases.strip(definition), inactive if live else None, cpu if live else None)


def _disks(wanted: Snapshot, definition: DomainDef) -> Iterator[SnapshotDisk]:
    """One of each disk of ``definition``, as it is told or goes without saying (virDomainSnapshotAlignDisks)."""
    told: dict[str, SnapshotDisk] = {}
    for one in wanted.disks:
        disk = next((each for each in definition.devices.disks if one.name in (each.target.dev, each.path)), None)
        if disk is None:
            raise errors.ConfigUnsupported(f"unsupported configuration: no disk named '{one.name}'")
        if disk.target.dev in told:
            raise errors.ConfigUnsupported(f"unsupported configuration: disk '{one.name}' specified twice")
        if one.source is not None or one.snapshot == EXTERNAL:
            raise errors.ConfigUnsupported(
                f"unsupported configuration: disk '{one.name}' must use snapshot mode 'internal'"
            )
        if one.snapshot == NO and _own(disk) != NO:
            raise errors.ConfigUnsupported(
                f"unsupported configuration: disk '{one.name}' must use snapshot mode 'internal'"
            )
        told[disk.target.dev] = one
    for disk in definition.devices.disks:
        own = NO if disk.is_empty else _own(disk)
        said = told.get(disk.target.dev)
        if said is not None and said.snapshot is not None:
            own = said.snapshot
        yield SnapshotDisk(name=disk.target.dev, snapshot=own)


def _own(disk: Disk) -> str:
    """What is done with a disk where nothing is said."""
    return NO if disk.readonly else disk.snapshot or INTERNAL


def _check_disks(disks: tuple[SnapshotDisk, ...], definition: DomainDef, *, live: bool) -> None:
    held = {disk.target.dev: disk for disk in definition.devices.disks}
    inside = [held[one.name] for one in disks if one.snapshot == INTERNAL]
    for one in disks:
        if one.snapshot == EXTERNAL:
            raise errors.ConfigUnsupported(
                "unsupported configuration: external snapshots are not supported by culvert:"
                f" /domain/devices/disk/@snapshot of disk '{one.name}'"
            )
    for disk in inside:
        if disk.type == "network" and not live:
            protocol = disk.source.protocol if disk.source else ""
            raise errors.ConfigUnsupported(
                "unsupported configuration: internal inactive snapshots are not supported on 'network' disks using"
                f" '{protocol}' protocol"
            )
        if disk.driver is not None and disk.driver.type not in (None, "qcow2"):
            raise errors.ConfigUnsupported(
                f"unsupported configuration: internal snapshot for disk {disk.target.dev} unsupported for storage"
                f" type {disk.driver.type}"
            )
    left_out = any(
        one.snapshot == NO and not held[one.name].is_empty and not held[one.name].readonly for one in disks
    )
    if not inside and not live:
        raise errors.ConfigUnsupported("unsupported configuration: nothing selected for snapshot")
    if (live and not inside) or (inside and left_out):
        raise errors.ConfigUnsupported(
            "unsupported configuration: internal and full system snapshots require all disks to be selected for"
            " snapshot"
        )


def check_redefined(snapshot: Snapshot, held: Mapping[str, Snapshot], uuid: str, domain: str) -> None:
    """Raise ``errors.InvalidArgument`` for a description that cannot take its place among those ``held``."""
    name, parent = snapshot.name, snapshot.parent
    if parent == name:
        raise errors.InvalidArgument(f"cannot set snapshot {name} as its own parent")
    if parent is not None and parent not in held:
        raise errors.InvalidArgument(f"parent {parent} for snapshot {name} not found")
    above = parent
    for _ in range(len(held)):
        if above is None:
            break
        above = held[above].parent if above in held else None
        if above == name:
            raise errors.InvalidArgument(f"parent {parent} would create cycle to {name}")
    if snapshot.definition is not None and snapshot.definition.uuid != uuid:
        raise errors.InvalidArgument(f"definition for snapshot {name} must use uuid {uuid}")
    before = held.get(name)
    if before is not None and before.is_live != snapshot.is_live:
        raise errors.InvalidArgument(f"cannot change between online and offline snapshot state in snapshot {name}")


def descendants(held: Mapping[str, Snapshot], name: str | None) -> list[str]:
    """All below ``name``, or all there are, each after what it is below."""
    below: dict[str | None, list[str]] = {}
    for one in held.values():
        below.setdefault(one.parent if one.parent in held else None, []).append(one.name)
    found: list[str] = []
    waiting = list(reversed(below.get(name, ())))
    while waiting:
        one_name = waiting.pop()
        found.append(one_name)
        waiting += reversed(below.get(one_name, ()))
    return found
