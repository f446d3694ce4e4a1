"""Lists and look-ups of domains."""

from __future__ import annotations

from uuid import UUID

from culvert.daemon.service import Service, on_wire
from culvert.protocol import remote_list, shapes
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void


class ListingHandlers:
    """Handlers of the listing group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_list.CONNECT_LIST_ALL_DOMAINS, self.list_all_domains)
        handlers.add(remote_list.CONNECT_NUM_OF_DOMAINS, self.num_of_domains)
        handlers.add(remote_list.CONNECT_LIST_DOMAINS, self.list_domains)
        handlers.add(remote_list.CONNECT_NUM_OF_DEFINED_DOMAINS, self.num_of_defined_domains)
        handlers.add(remote_list.CONNECT_LIST_DEFINED_DOMAINS, self.list_defined_domains)
        handlers.add(remote_list.DOMAIN_LOOKUP_BY_ID, self.lookup_by_id)
        handlers.add(remote_list.DOMAIN_LOOKUP_BY_NAME, self.lookup_by_name)
        handlers.add(remote_list.DOMAIN_LOOKUP_BY_UUID, self.lookup_by_uuid)

    async def list_all_domains(self, session: Session, args: shapes.ListAllArgs) -> remote_list.DomainsRet:
        found = [on_wire(domain) for domain in self._service.domains(args.flags)]
        return remote_list.DomainsRet(found if args.need_results else [], len(found))

    async def num_of_domains(self, session: Session, args: Void) -> shapes.NumRet:
        return shapes.NumRet(sum(domain.is_active for domain in self._service.domains()))

    async def list_domains(self, session: Session, args: remote_list.MaxIDsArgs) -> remote_list.IDsRet:
        ids = [domain.id for domain in self._service.domains() if domain.is_active]
        return remote_list.IDsRet(ids[: max(0, args.maxids)])

    async def num_of_defined_domains(self, session: Session, args: Void) -> shapes.NumRet:
        return shapes.NumRet(sum(not domain.is_active for domain in self._service.domains()))

    async def list_defined_domains(self, session: Session, args: remote_list.MaxNamesArgs) -> remote_list.NamesRet:
        names = [domain.name for domain in self._service.domains() if not domain.is_active]
        return remote_list.NamesRet(names[: max(0, args.maxnames)])

    async def lookup_by_id(self, session: Session, args: remote_list.IDArgs) -> shapes.DomainRet:
        return shapes.DomainRet(on_wire(self._service.driver.lookup_by_id(args.id)))

    async def lookup_by_name(self, session: Session, args: remote_list.NameArgs) -> shapes.DomainRet:
        return shapes.DomainRet(on_wire(self._service.driver.lookup_by_name(args.name)))

    async def lookup_by_uuid(self, session: Session, args: remote_list.UUIDArgs) -> shapes.DomainRet:
        return shapes.DomainRet(on_wire(self._service.driver.lookup_by_uuid(UUID(bytes=args.uuid))))
