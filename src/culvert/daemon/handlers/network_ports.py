"""The ports of virtual networks: the cards that are plugged in. They are made and taken away by guests alone."""

from __future__ import annotations

from uuid import UUID

from culvert.daemon.handlers.network import on_wire
from culvert.daemon.service import Service, no_flags
from culvert.domain.bandwidth import Rate
from culvert.drivers.network import port as ports
from culvert.drivers.network.network import Network
from culvert.drivers.network.port import Port
from culvert.protocol import remote_network, shapes, types
from culvert.protocol.types import TypedParam, TypedParamType
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session


class NetworkPortHandlers:
    """Handlers of the ports of networks."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_network.NETWORK_LIST_ALL_PORTS, self.list_all)
        handlers.add(remote_network.NETWORK_PORT_LOOKUP_BY_UUID, self.by_uuid)
        handlers.add(remote_network.NETWORK_PORT_GET_XML_DESC, self.xml)
        handlers.add(remote_network.NETWORK_PORT_GET_PARAMETERS, self.parameters)

    def _network(self, net: types.Network) -> Network:
        return self._service.networks.by_uuid(UUID(bytes=net.uuid))

    def _port(self, port: remote_network.NetworkPort) -> Port:
        return self._service.networks.port(self._network(port.net), UUID(bytes=port.uuid))

    async def list_all(
        self, session: Session, args: remote_network.ListAllPortsArgs
    ) -> remote_network.ListAllPortsRet:
        no_flags(args.flags, "networkListAllPorts")
        network = self._network(args.network)
        found = [remote_network.NetworkPort(on_wire(network), uuid.bytes) for uuid in network.ports]
        found = found[: types.DOMAIN_LIST_MAX]
        return remote_network.ListAllPortsRet(found if args.need_results else [], len(found))

    async def by_uuid(
        self, session: Session, args: remote_network.PortLookupByUUIDArgs
    ) -> remote_network.NetworkPortRet:
        port = remote_network.NetworkPort(args.network, args.uuid)
        self._port(port)
        return remote_network.NetworkPortRet(port)

    async def xml(self, session: Session, args: remote_network.PortFlagsArgs) -> shapes.XMLRet:
        no_flags(args.flags, "networkPortGetXMLDesc")
        return shapes.XMLRet(ports.describe(self._port(args.port)))

    async def parameters(
        self, session: Session, args: remote_network.PortGetParametersArgs
    ) -> remote_network.PortGetParametersRet:
        no_flags(args.flags, "networkPortGetParameters")
        bandwidth = self._port(args.port).bandwidth
        inbound = bandwidth.inbound if bandwidth is not None else None
        outbound = bandwidth.outbound if bandwidth is not None else None
        found = _rate("inbound", inbound, floor=True) + _rate("outbound", outbound, floor=False)
        return remote_network.PortGetParametersRet(found if args.nparams else [], len(found))


def _rate(way: str, rate: Rate | None, *, floor: bool) -> list[TypedParam]:
    if rate is None:
        return []
    values = {"average": rate.average, "peak": rate.peak, "burst": rate.burst} | (
        {"floor": rate.floor} if floor else {}
    )
    return [TypedParam(f"{way}.{name}", (int(TypedParamType.UINT), value or 0)) for name, value in values.items()]
