"""The connection itself: authentication, open, close, features, identity."""

from __future__ import annotations

import logging

from culvert.daemon.service import Service, no_flags
from culvert.ground import errors, uri
from culvert.protocol import remote_connect, shapes
from culvert.protocol.constants_state import Feature
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

log = logging.getLogger(__name__)

# What libvirt says of emulated guests, and of no kind in particular (qemu/qemu_driver.c, qemuConnectGetMaxVcpus).
EMULATED_VCPUS = 16
MAX_VCPUS = 255  # of the machine types served (QEMU, query-machines cpu-max of pc)
READ_ONLY = 1  # VIR_CONNECT_RO
# What a client that is not root sends besides: VIR_DRV_OPEN_REMOTE_USER, _AUTOSTART (remote/remote_driver.c) concern
# the way it took to the daemon, and its daemon looks at READ_ONLY alone.
CLIENTS_OWN = 2 | 4
IDENTITY_SHOWN = 80  # characters of each name and value that are logged
OPEN_PATHS = ("/system", "/session")

# What is answered 1. libvirt's QEMU driver also has migration version 2 and the passing of descriptors, which are not
# served here; every number that is not in the set is answered 0.
FEATURES = frozenset(
    {
        Feature.MIGRATION_P2P,
        Feature.MIGRATION_V3,
        Feature.MIGRATE_CHANGE_PROTECTION,
        Feature.TYPED_PARAM_STRING,
        Feature.PROGRAM_KEEPALIVE,
        Feature.XML_MIGRATABLE,
        Feature.MIGRATION_OFFLINE,
        Feature.MIGRATION_PARAMS,
        Feature.REMOTE_EVENT_CALLBACK,
        Feature.NETWORK_UPDATE_HAS_CORRECT_ORDER,
        Feature.REMOTE_CLOSE_CALLBACK,
    }
)


class ConnectHandlers:
    """Handlers of the connection group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_connect.AUTH_LIST, self.auth_list)
        handlers.add(remote_connect.CONNECT_OPEN, self.open)
        handlers.add(remote_connect.CONNECT_CLOSE, self.close)
        handlers.add(remote_connect.CONNECT_SUPPORTS_FEATURE, self.supports_feature)
        handlers.add(remote_connect.CONNECT_GET_TYPE, self.get_type)
        handlers.add(remote_connect.CONNECT_GET_VERSION, self.get_version)
        handlers.add(remote_connect.CONNECT_GET_LIB_VERSION, self.get_lib_version)
        handlers.add(remote_connect.CONNECT_GET_HOSTNAME, self.get_hostname)
        handlers.add(remote_connect.CONNECT_GET_URI, self.get_uri)
        handlers.add(remote_connect.CONNECT_GET_MAX_VCPUS, self.get_max_vcpus)
        handlers.add(remote_connect.CONNECT_IS_SECURE, self.is_secure)
        handlers.add(remote_connect.CONNECT_SET_IDENTITY, self.set_identity)
        handlers.add(remote_connect.CONNECT_REGISTER_CLOSE_CALLBACK, self.nothing)
        handlers.add(remote_connect.CONNECT_UNREGISTER_CLOSE_CALLBACK, self.nothing)

    async def auth_list(self, session: Session, args: Void) -> remote_connect.AuthListRet:
        return remote_connect.AuthListRet([remote_connect.AuthType.NONE])

    async def open(self, session: Session, args: remote_connect.ConnectOpenArgs) -> Void:
        no_flags(args.flags, "virConnectOpen", READ_ONLY | CLIENTS_OWN)
        if args.name:
            where = uri.parse(args.name)
            if where.driver != "qemu" or where.path not in OPEN_PATHS:
                raise errors.InvalidArgument(
                    f"no connection driver available for {args.name}: use qemu:///system or qemu:///session"
                )
        session.opened = True
        session.read_only = session.read_only or bool(args.flags & READ_ONLY)
        session.data["uri"] = args.name or "qemu:///system"
        return Void()

    async def close(self, session: Session, args: Void) -> Void:
        session.close_after_reply()
        return Void()

    async def supports_feature(self, session: Session, args: remote_connect.FeatureArgs) -> remote_connect.FeatureRet:
        if args.feature == Feature.PROGRAM_KEEPALIVE:
            session.keepalive_wanted = True
        elif not session.opened:
            raise errors.NotOpen("hypervisor connection not open")
        passes = args.feature == Feature.FD_PASSING and session.transport == "unix"
        return remote_connect.FeatureRet(int(passes or args.feature in FEATURES))

    async def get_type(self, session: Session, args: Void) -> shapes.TypeRet:
        return shapes.TypeRet("QEMU")

    async def get_version(self, session: Session, args: Void) -> remote_connect.HvVersionRet:
        return remote_connect.HvVersionRet(self._service.driver.version)

    async def get_lib_version(self, session: Session, args: Void) -> remote_connect.LibVersionRet:
        return remote_connect.LibVersionRet(self._service.lib_version)

    async def get_hostname(self, session: Session, args: Void) -> remote_connect.HostnameRet:
        return remote_connect.HostnameRet(self._service.hostname)

    async def get_uri(self, session: Session, args: Void) -> remote_connect.URIRet:
        return remote_connect.URIRet(session.data["uri"])

    async def get_max_vcpus(self, session: Session, args: remote_connect.MaxVcpusArgs) -> remote_connect.MaxVcpusRet:
        match "qemu" if args.type is None else args.type.lower():
            case "qemu":
                return remote_connect.MaxVcpusRet(EMULATED_VCPUS)
            case "kvm":
                return remote_connect.MaxVcpusRet(MAX_VCPUS)
            case _:
                raise errors.InvalidArgument(f"invalid argument: unknown type '{args.type}'")

    async def is_secure(self, session: Session, args: Void) -> remote_connect.SecureRet:
        return remote_connect.SecureRet(int(session.transport in ("unix", "tls")))

    async def set_identity(self, session: Session, args: remote_connect.SetIdentityArgs) -> Void:
        # What a client says of itself grants it nothing here; it is written down for the operator.
        told = ", ".join(f"{p.field[:IDENTITY_SHOWN]}={p.value[1]!s:.{IDENTITY_SHOWN}}" for p in args.params)
        log.info("session=%d identity=%s", session.id, ascii(told))
        return Void()

    async def nothing(self, session: Session, args: Void) -> Void:
        """The close callback: the client is told by the end of the connection itself."""
        return Void()
