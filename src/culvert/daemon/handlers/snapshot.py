"""A domain's snapshots."""

from __future__ import annotations

from culvert.daemon.service import Service, no_flags, on_wire
from culvert.domain import snapshot as snapshot_xml
from culvert.domain.snapshot import Snapshot
from culvert.drivers.qemu import snapshotting
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.io import apart
from culvert.protocol import remote_list, remote_snapshot, shapes, types
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

SECURE = 1  # VIR_DOMAIN_SNAPSHOT_XML_SECURE
CREATE = (snapshotting.VALIDATE << 1) - 1
REVERT = (snapshotting.RESET_NVRAM << 1) - 1
DELETE = snapshotting.CHILDREN | snapshotting.METADATA_ONLY | snapshotting.CHILDREN_ONLY


class SnapshotHandlers:
    """Handlers of the snapshot group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_snapshot.DOMAIN_SNAPSHOT_NUM, self.num)
        handlers.add(remote_snapshot.DOMAIN_SNAPSHOT_LIST_NAMES, self.list_names)
        handlers.add(remote_snapshot.DOMAIN_LIST_ALL_SNAPSHOTS, self.list_all)
        handlers.add(remote_snapshot.DOMAIN_SNAPSHOT_NUM_CHILDREN, self.num_children)
        handlers.add(remote_snapshot.DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES, self.list_children_names)
        handlers.add(remote_snapshot.DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN, self.list_all_children)
        handlers.add(remote_snapshot.DOMAIN_SNAPSHOT_LOOKUP_BY_NAME, self.lookup)
        handlers.add(remote_snapshot.DOMAIN_HAS_CURRENT_SNAPSHOT, self.has_current)
        handlers.add(remote_snapshot.DOMAIN_SNAPSHOT_CURRENT, self.current)
        handlers.add(remote_snapshot.DOMAIN_SNAPSHOT_GET_PARENT, self.parent)
        handlers.add(remote_snapshot.DOMAIN_SNAPSHOT_IS_CURRENT, self.is_current)
        handlers.add(remote_snapshot.DOMAIN_SNAPSHOT_HAS_METADATA, self.has_metadata)
        handlers.add(remote_snapshot.DOMAIN_SNAPSHOT_CREATE_XML, self.create)
        handlers.add(remote_snapshot.DOMAIN_SNAPSHOT_GET_XML_DESC, self.xml)
        handlers.add(remote_snapshot.DOMAIN_REVERT_TO_SNAPSHOT, self.revert)
        handlers.add(remote_snapshot.DOMAIN_SNAPSHOT_DELETE, self.delete)

    def _of(self, snap: types.DomainSnapshot) -> tuple[Domain, Snapshot]:
        domain = self._service.domain(snap.dom)
        return domain, domain.snapshots.find(snap.name)

    # lists

    async def num(self, session: Session, args: shapes.DomainFlagsArgs) -> shapes.NumRet:
        return shapes.NumRet(len(self._service.domain(args.dom).snapshots.names(args.flags)))

    async def list_names(self, session: Session, args: remote_snapshot.DomainMaxNamesArgs) -> remote_list.NamesRet:
        found = self._service.domain(args.dom).snapshots.names(args.flags)
        return remote_list.NamesRet(found[: max(args.maxnames, 0)])

    async def list_all(
        self, session: Session, args: remote_snapshot.DomainListAllArgs
    ) -> remote_snapshot.DomainListAllSnapshotsRet:
        domain = self._service.domain(args.dom)
        found = [_on_wire(domain, name) for name in domain.snapshots.names(args.flags)]
        return remote_snapshot.DomainListAllSnapshotsRet(found if args.need_results else [], len(found))

    async def num_children(self, session: Session, args: remote_snapshot.SnapshotFlagsArgs) -> shapes.NumRet:
        domain, snapshot = self._of(args.snap)
        return shapes.NumRet(len(domain.snapshots.names(args.flags, snapshot.name)))

    async def list_children_names(
        self, session: Session, args: remote_snapshot.SnapshotMaxNamesArgs
    ) -> remote_list.NamesRet:
        domain, snapshot = self._of(args.snap)
        return remote_list.NamesRet(domain.snapshots.names(args.flags, snapshot.name)[: max(args.maxnames, 0)])

    async def list_all_children(
        self, session: Session, args: remote_snapshot.SnapshotListAllArgs
    ) -> remote_snapshot.DomainListAllSnapshotsRet:
        domain, snapshot = self._of(args.snapshot)
        found = [_on_wire(domain, name) for name in domain.snapshots.names(args.flags, snapshot.name)]
        return remote_snapshot.DomainListAllSnapshotsRet(found if args.need_results else [], len(found))

    # one

    async def lookup(self, session: Session, args: remote_snapshot.DomainNameArgs) -> remote_snapshot.SnapshotRet:
        no_flags(args.flags, "qemuDomainSnapshotLookupByName")
        domain = self._service.domain(args.dom)
        return remote_snapshot.SnapshotRet(_on_wire(domain, domain.snapshots.find(args.name).name))

    async def has_current(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_snapshot.ResultRet:
        no_flags(args.flags, "qemuDomainHasCurrentSnapshot")
        return remote_snapshot.ResultRet(int(self._service.domain(args.dom).snapshots.current is not None))

    async def current(self, session: Session, args: shapes.DomainFlagsArgs) -> remote_snapshot.SnapshotRet:
        no_flags(args.flags, "qemuDomainSnapshotCurrent")
        domain = self._service.domain(args.dom)
        if domain.snapshots.current is None:
            raise errors.NoDomainSnapshot("the domain does not have a current snapshot")
        return remote_snapshot.SnapshotRet(_on_wire(domain, domain.snapshots.current))

    async def parent(self, session: Session, args: remote_snapshot.SnapshotFlagsArgs) -> remote_snapshot.SnapshotRet:
        no_flags(args.flags, "qemuDomainSnapshotGetParent")
        domain, snapshot = self._of(args.snap)
        return remote_snapshot.SnapshotRet(_on_wire(domain, domain.snapshots.parent(snapshot.name).name))

    async def is_current(
        self, session: Session, args: remote_snapshot.SnapshotFlagsArgs
    ) -> remote_snapshot.CurrentRet:
        no_flags(args.flags, "qemuDomainSnapshotIsCurrent")
        domain, snapshot = self._of(args.snap)
        return remote_snapshot.CurrentRet(int(domain.snapshots.current == snapshot.name))

    async def has_metadata(
        self, session: Session, args: remote_snapshot.SnapshotFlagsArgs
    ) -> remote_snapshot.HasMetadataRet:
        no_flags(args.flags, "qemuDomainSnapshotHasMetadata")
        self._of(args.snap)
        return remote_snapshot.HasMetadataRet(1)

    async def xml(self, session: Session, args: remote_snapshot.SnapshotFlagsArgs) -> shapes.XMLRet:
        no_flags(args.flags, "qemuDomainSnapshotGetXMLDesc", SECURE)
        domain, snapshot = self._of(args.snap)
        secure = bool(args.flags & SECURE)
        return shapes.XMLRet(await apart.run(snapshot_xml.format, snapshot, uuid=str(domain.uuid), secure=secure))

    # what is done

    async def create(self, session: Session, args: remote_snapshot.DomainXMLFlagsArgs) -> remote_snapshot.SnapshotRet:
        no_flags(args.flags, "qemuSnapshotCreateXML", CREATE)
        domain = self._service.domain(args.dom)
        made = await snapshotting.create(self._service.driver, domain, args.xml_desc, args.flags)
        return remote_snapshot.SnapshotRet(_on_wire(domain, made.name))

    async def revert(self, session: Session, args: remote_snapshot.SnapshotFlagsArgs) -> Void:
        no_flags(args.flags, "qemuSnapshotRevert", REVERT)
        domain, snapshot = self._of(args.snap)
        await snapshotting.revert(self._service.driver, domain, snapshot.name, args.flags)
        return Void()

    async def delete(self, session: Session, args: remote_snapshot.SnapshotFlagsArgs) -> Void:
        no_flags(args.flags, "qemuSnapshotDelete", DELETE)
        domain, snapshot = self._of(args.snap)
        await snapshotting.delete(domain, snapshot.name, args.flags)
        return Void()


def _on_wire(domain: Domain, name: str) -> types.DomainSnapshot:
    return types.DomainSnapshot(name, on_wire(domain))
