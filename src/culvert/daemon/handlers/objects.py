"""What libvirt keeps beside domains and culvert does not: filters, devices, checkpoints.

Lists are empty and look-ups find nothing, in libvirt's words, so that a client that asks goes on to the domains. A
call that would make one of them is answered "not supported".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

from culvert.daemon.service import Service
from culvert.ground import errors
from culvert.protocol import remote_list, remote_object, remote_snapshot, shapes
from culvert.protocol.procedure import Procedure
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session

R = TypeVar("R")

COUNTS: tuple[Procedure[Any, shapes.NumRet], ...] = (
    *(remote_object.CONNECT_NUM_OF_INTERFACES, remote_object.CONNECT_NUM_OF_DEFINED_INTERFACES),
    *(
        remote_object.CONNECT_NUM_OF_NWFILTERS,
        remote_object.NODE_NUM_OF_DEVICES,
    ),
)

NAMES: tuple[Procedure[Any, remote_list.NamesRet], ...] = (
    *(remote_object.CONNECT_LIST_INTERFACES, remote_object.CONNECT_LIST_DEFINED_INTERFACES),
    *(remote_object.CONNECT_LIST_NWFILTERS, remote_object.NODE_LIST_DEVICES),
)

LISTS: tuple[Procedure[shapes.ListAllArgs, Any], ...] = (
    remote_list.CONNECT_LIST_ALL_INTERFACES,
    *(
        remote_list.CONNECT_LIST_ALL_NODE_DEVICES,
        remote_object.CONNECT_LIST_ALL_NWFILTERS,
    ),
    remote_object.CONNECT_LIST_ALL_NWFILTER_BINDINGS,
)

# A look-up → the error, and its text with the name that was asked for. The name is the argument's one member, text
# or the bytes of a UUID.
LOOKUPS: dict[Procedure[Any, Any], tuple[type[errors.RequestError], str]] = {
    remote_object.INTERFACE_LOOKUP_BY_NAME: (errors.NoInterface, "couldn't find interface named '{}'"),
    remote_object.INTERFACE_LOOKUP_BY_MAC_STRING: (
        errors.NoInterface,
        "couldn't find interface with MAC address '{}'",
    ),
    remote_object.NODE_DEVICE_LOOKUP_BY_NAME: (errors.NoNodeDevice, "no node device with matching name '{}'"),
    remote_object.NWFILTER_LOOKUP_BY_NAME: (errors.NoNwfilter, "no nwfilter with matching name '{}'"),
    remote_object.NWFILTER_LOOKUP_BY_UUID: (errors.NoNwfilter, "no nwfilter with matching uuid '{}'"),
    remote_object.NWFILTER_BINDING_LOOKUP_BY_PORT_DEV: (
        errors.NoNwfilterBinding,
        "no nwfilter binding for port dev '{}'",
    ),
}


class ObjectHandlers:
    """Handlers of what is never there."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        for count in COUNTS:
            handlers.add(count, _answer(shapes.NumRet(0)))
        for names in NAMES:
            handlers.add(names, _answer(remote_list.NamesRet([])))
        for listing in LISTS:
            handlers.add(listing, _answer(listing.ret([], 0)))
        for lookup, (kind, text) in LOOKUPS.items():
            handlers.add(lookup, _nobody(kind, text))
        handlers.add(remote_snapshot.DOMAIN_LIST_ALL_CHECKPOINTS, self.list_all_checkpoints)
        handlers.add(remote_snapshot.DOMAIN_CHECKPOINT_LOOKUP_BY_NAME, self.checkpoint_lookup_by_name)

    async def list_all_checkpoints(
        self, session: Session, args: remote_snapshot.DomainListAllArgs
    ) -> remote_snapshot.DomainListAllCheckpointsRet:
        self._service.domain(args.dom)
        return remote_snapshot.DomainListAllCheckpointsRet([], 0)

    async def checkpoint_lookup_by_name(
        self, session: Session, args: remote_snapshot.DomainNameArgs
    ) -> remote_snapshot.CheckpointRet:
        self._service.domain(args.dom)
        raise errors.NoDomainCheckpoint(f"no domain checkpoint with matching name '{args.name}'")


def _answer(value: R) -> Callable[[Session, Any], Awaitable[R]]:
    async def answer(session: Session, args: object) -> R:
        return value

    return answer


def _nobody(kind: type[errors.RequestError], text: str) -> Callable[[Session, Any], Awaitable[Any]]:
    async def refuse(session: Session, args: Any) -> Any:
        (asked,) = (getattr(args, each.name) for each in dataclasses.fields(args))
        raise kind(text.format(UUID(bytes=asked) if isinstance(asked, bytes) else asked))

    return refuse
