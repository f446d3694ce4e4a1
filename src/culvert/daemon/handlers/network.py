"""Virtual networks: their lists, their lives, who has been given which address, and what happens to them."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from culvert.daemon.handlers import events
from culvert.daemon.service import Service, no_flags
from culvert.domain.network.update import Request
from culvert.drivers.network.events import NetworkLifecycle
from culvert.drivers.network.leases import Lease
from culvert.drivers.network.network import Network
from culvert.drivers.network.networks import CONFIG, LIVE, Networks
from culvert.ground import errors
from culvert.protocol import (
    remote_domain,
    remote_event,
    remote_list,
    remote_network,
    remote_object,
    remote_register,
    shapes,
    types,
)
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

# VIR_CONNECT_LIST_NETWORKS_*
LIST_INACTIVE, LIST_ACTIVE, LIST_PERSISTENT, LIST_TRANSIENT, LIST_AUTOSTART, LIST_NO_AUTOSTART = 1, 2, 4, 8, 16, 32
XML_INACTIVE = 1  # VIR_NETWORK_XML_INACTIVE
VALIDATE = 1  # VIR_NETWORK_DEFINE_VALIDATE, _CREATE_: what the table does not have is refused anyway
LIFECYCLE = 0  # VIR_NETWORK_EVENT_ID_LIFECYCLE
METADATA_CHANGE = 1  # VIR_NETWORK_EVENT_ID_METADATA_CHANGE: nothing in culvert causes it
IPV4, IPV6 = 0, 1  # VIR_IP_ADDR_TYPE_*


class NetworkHandlers:
    """Handlers of the network group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _networks(self) -> Networks:
        return self._service.networks

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_list.CONNECT_LIST_ALL_NETWORKS, self.list_all)
        handlers.add(remote_object.CONNECT_NUM_OF_NETWORKS, self.count_active)
        handlers.add(remote_object.CONNECT_LIST_NETWORKS, self.list_active)
        handlers.add(remote_object.CONNECT_NUM_OF_DEFINED_NETWORKS, self.count_inactive)
        handlers.add(remote_object.CONNECT_LIST_DEFINED_NETWORKS, self.list_inactive)
        handlers.add(remote_object.NETWORK_LOOKUP_BY_NAME, self.by_name)
        handlers.add(remote_object.NETWORK_LOOKUP_BY_UUID, self.by_uuid)
        handlers.add(remote_network.NETWORK_DEFINE_XML, self.define)
        handlers.add(remote_network.NETWORK_DEFINE_XML_FLAGS, self.define_flags)
        handlers.add(remote_network.NETWORK_CREATE_XML, self.create_xml)
        handlers.add(remote_network.NETWORK_CREATE_XML_FLAGS, self.create_xml_flags)
        handlers.add(remote_network.NETWORK_CREATE, self.create)
        handlers.add(remote_network.NETWORK_DESTROY, self.destroy)
        handlers.add(remote_network.NETWORK_UNDEFINE, self.undefine)
        handlers.add(remote_network.NETWORK_UPDATE, self.update)
        handlers.add(remote_network.NETWORK_GET_XML_DESC, self.xml)
        handlers.add(remote_network.NETWORK_GET_BRIDGE_NAME, self.bridge_name)
        handlers.add(remote_network.NETWORK_GET_AUTOSTART, self.get_autostart)
        handlers.add(remote_network.NETWORK_SET_AUTOSTART, self.set_autostart)
        handlers.add(remote_network.NETWORK_IS_ACTIVE, self.is_active)
        handlers.add(remote_network.NETWORK_IS_PERSISTENT, self.is_persistent)
        handlers.add(remote_network.NETWORK_GET_DHCP_LEASES, self.leases)
        handlers.add(remote_register.CONNECT_NETWORK_EVENT_REGISTER_ANY, self.register_any)
        handlers.add(remote_register.CONNECT_NETWORK_EVENT_DEREGISTER_ANY, events.deregister)

    def _network(self, net: types.Network) -> Network:
        return self._networks.by_uuid(UUID(bytes=net.uuid))

    # lists and look-ups

    async def list_all(self, session: Session, args: shapes.ListAllArgs) -> remote_list.NetworksRet:
        no_flags(args.flags, "networkConnectListAllNetworks", 2 * LIST_NO_AUTOSTART - 1)
        found = [on_wire(network) for network in self._networks.all() if _matches(network, args.flags)]
        return remote_list.NetworksRet(found if args.need_results else [], len(found))

    def _names(self, *, active: bool) -> list[str]:
        return [network.name for network in self._networks.all() if network.active is active]

    async def count_active(self, session: Session, args: Void) -> shapes.NumRet:
        return shapes.NumRet(len(self._names(active=True)))

    async def list_active(self, session: Session, args: remote_list.MaxNamesArgs) -> remote_list.NamesRet:
        return remote_list.NamesRet(self._names(active=True)[: max(args.maxnames, 0)])

    async def count_inactive(self, session: Session, args: Void) -> shapes.NumRet:
        return shapes.NumRet(len(self._names(active=False)))

    async def list_inactive(self, session: Session, args: remote_list.MaxNamesArgs) -> remote_list.NamesRet:
        return remote_list.NamesRet(self._names(active=False)[: max(args.maxnames, 0)])

    async def by_name(self, session: Session, args: remote_list.NameArgs) -> remote_object.NetworkRet:
        return remote_object.NetworkRet(on_wire(self._networks.by_name(args.name)))

    async def by_uuid(self, session: Session, args: remote_list.UUIDArgs) -> remote_object.NetworkRet:
        return remote_object.NetworkRet(on_wire(self._networks.by_uuid(UUID(bytes=args.uuid))))

    # their lives

    async def define(self, session: Session, args: shapes.XMLArgs) -> remote_object.NetworkRet:
        return remote_object.NetworkRet(on_wire(await self._networks.define(args.xml)))

    async def define_flags(self, session: Session, args: shapes.XMLFlagsArgs) -> remote_object.NetworkRet:
        no_flags(args.flags, "networkDefineXMLFlags", VALIDATE)
        return remote_object.NetworkRet(on_wire(await self._networks.define(args.xml)))

    async def create_xml(self, session: Session, args: shapes.XMLArgs) -> remote_object.NetworkRet:
        return remote_object.NetworkRet(on_wire(await self._networks.create(args.xml)))

    async def create_xml_flags(self, session: Session, args: shapes.XMLFlagsArgs) -> remote_object.NetworkRet:
        no_flags(args.flags, "networkCreateXMLFlags", VALIDATE)
        return remote_object.NetworkRet(on_wire(await self._networks.create(args.xml)))

    async def create(self, session: Session, args: remote_network.NetworkArgs) -> Void:
        await self._networks.start(self._network(args.net))
        return Void()

    async def destroy(self, session: Session, args: remote_network.NetworkArgs) -> Void:
        await self._networks.stop(self._network(args.net))
        return Void()

    async def undefine(self, session: Session, args: remote_network.NetworkArgs) -> Void:
        await self._networks.undefine(self._network(args.net))
        return Void()

    async def update(self, session: Session, args: remote_network.NetworkUpdateArgs) -> Void:
        no_flags(args.flags, "networkUpdate", LIVE | CONFIG)
        network = self._network(args.net)
        request = Request(args.command, args.section, args.parent_index, args.xml)
        await self._networks.update(network, request, args.flags)
        return Void()

    async def set_autostart(self, session: Session, args: remote_network.NetworkSetAutostartArgs) -> Void:
        await self._networks.set_autostart(self._network(args.net), bool(args.autostart))
        return Void()

    # what they are

    async def xml(self, session: Session, args: remote_network.NetworkFlagsArgs) -> shapes.XMLRet:
        no_flags(args.flags, "networkGetXMLDesc", XML_INACTIVE)
        return shapes.XMLRet(self._network(args.net).xml(inactive=bool(args.flags & XML_INACTIVE)))

    async def bridge_name(self, session: Session, args: remote_network.NetworkArgs) -> remote_network.BridgeNameRet:
        return remote_network.BridgeNameRet(self._network(args.net).bridge)

    async def get_autostart(self, session: Session, args: remote_network.NetworkArgs) -> remote_domain.AutostartRet:
        return remote_domain.AutostartRet(int(self._network(args.net).autostart))

    async def is_active(self, session: Session, args: remote_network.NetworkArgs) -> remote_domain.ActiveRet:
        return remote_domain.ActiveRet(int(self._network(args.net).active))

    async def is_persistent(self, session: Session, args: remote_network.NetworkArgs) -> remote_domain.PersistentRet:
        return remote_domain.PersistentRet(int(self._network(args.net).persistent))

    async def leases(
        self, session: Session, args: remote_network.GetDHCPLeasesArgs
    ) -> remote_network.GetDHCPLeasesRet:
        no_flags(args.flags, "networkGetDHCPLeases")
        network = self._network(args.net)
        found = (await self._networks.leases(network.name, args.mac))[: remote_network.LEASES_MAX]
        shown = [_lease(network, one) for one in found] if args.need_results else []
        return remote_network.GetDHCPLeasesRet(shown, len(found))

    # events

    async def register_any(
        self, session: Session, args: remote_register.NetworkEventRegisterArgs
    ) -> shapes.CallbackIDRet:
        if args.event_id not in (LIFECYCLE, METADATA_CHANGE):
            raise errors.InvalidArgument(f"unsupported network event ID {args.event_id}")
        wanted = None if args.net is None else self._network(args.net).uuid

        def begin(number: int) -> Callable[[], None]:
            def post(event: NetworkLifecycle) -> None:
                if args.event_id == LIFECYCLE and wanted in (None, event.uuid):
                    net = types.Network(event.name, event.uuid.bytes)
                    session.post(
                        remote_event.NETWORK_EVENT_LIFECYCLE,
                        remote_event.NetworkLifecycleEvent(number, net, int(event.event), 0),
                    )

            return self._networks.events.subscribe(post)

        return events.keep(session, "network", begin)


def on_wire(network: Network) -> types.Network:
    """``network`` as it travels."""
    return types.Network(network.name, network.uuid.bytes)


def _lease(network: Network, lease: Lease) -> remote_network.DHCPLease:
    return remote_network.DHCPLease(
        iface=network.bridge,
        expirytime=lease.expiry,
        type=IPV6 if lease.version == 6 else IPV4,
        mac=lease.mac,
        iaid=lease.iaid,
        ipaddr=lease.ip,
        prefix=lease.prefix,
        hostname=lease.hostname,
        clientid=lease.client_id,
    )


def _matches(network: Network, flags: int) -> bool:
    """Whether the filter lets ``network`` through: of each pair one must fit, if one is given."""
    for no, yes, truth in (
        (LIST_INACTIVE, LIST_ACTIVE, network.active),
        (LIST_TRANSIENT, LIST_PERSISTENT, network.persistent),
        (LIST_NO_AUTOSTART, LIST_AUTOSTART, network.autostart),
    ):
        if flags & (no | yes) and not flags & (yes if truth else no):
            return False
    return True
