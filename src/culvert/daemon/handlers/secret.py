"""Secrets: defined, given a value, listed, forgotten."""

from __future__ import annotations

from uuid import UUID

from culvert.daemon.service import Service, no_flags
from culvert.domain import secret as secret_xml
from culvert.drivers.secret.secrets import KeptSecret, Secrets
from culvert.protocol import remote_list, remote_object, remote_secret, shapes
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

VALIDATE = 1  # VIR_SECRET_DEFINE_VALIDATE
# VIR_CONNECT_LIST_SECRETS_*
EPHEMERAL, NO_EPHEMERAL, PRIVATE, NO_PRIVATE = 1, 2, 4, 8


class SecretHandlers:
    """Handlers of the secret group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _secrets(self) -> Secrets:
        return self._service.secrets

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_object.CONNECT_NUM_OF_SECRETS, self.count)
        handlers.add(remote_object.CONNECT_LIST_SECRETS, self.list)
        handlers.add(remote_object.CONNECT_LIST_ALL_SECRETS, self.list_all)
        handlers.add(remote_object.SECRET_LOOKUP_BY_UUID, self.by_uuid)
        handlers.add(remote_object.SECRET_LOOKUP_BY_USAGE, self.by_usage)
        handlers.add(remote_secret.SECRET_DEFINE_XML, self.define)
        handlers.add(remote_secret.SECRET_GET_XML_DESC, self.xml)
        handlers.add(remote_secret.SECRET_SET_VALUE, self.set_value)
        handlers.add(remote_secret.SECRET_GET_VALUE, self.get_value)
        handlers.add(remote_secret.SECRET_UNDEFINE, self.undefine)

    def _of(self, secret: remote_object.Secret) -> KeptSecret:
        return self._secrets.by_uuid(UUID(bytes=secret.uuid))

    async def count(self, session: Session, args: Void) -> shapes.NumRet:
        return shapes.NumRet(len(self._secrets.all()))

    async def list(self, session: Session, args: remote_list.MaxNamesArgs) -> remote_list.NamesRet:
        return remote_list.NamesRet([str(one.uuid) for one in self._secrets.all()][: max(args.maxnames, 0)])

    async def list_all(self, session: Session, args: shapes.ListAllArgs) -> remote_object.SecretsRet:
        no_flags(args.flags, "secretConnectListAllSecrets", EPHEMERAL | NO_EPHEMERAL | PRIVATE | NO_PRIVATE)
        found = [_on_wire(one) for one in self._secrets.all() if _matches(one, args.flags)]
        return remote_object.SecretsRet(found if args.need_results else [], len(found))

    async def by_uuid(self, session: Session, args: remote_list.UUIDArgs) -> remote_object.SecretRet:
        return remote_object.SecretRet(_on_wire(self._secrets.by_uuid(UUID(bytes=args.uuid))))

    async def by_usage(self, session: Session, args: remote_object.SecretUsageArgs) -> remote_object.SecretRet:
        kinds = dict(enumerate(secret_xml.KINDS))
        found = self._secrets.by_usage(kinds.get(args.usage_type, ""), args.usage_id)
        return remote_object.SecretRet(_on_wire(found))

    async def define(self, session: Session, args: shapes.XMLFlagsArgs) -> remote_object.SecretRet:
        no_flags(args.flags, "secretDefineXML", VALIDATE)
        return remote_object.SecretRet(_on_wire(await self._secrets.define(args.xml)))

    async def xml(self, session: Session, args: remote_secret.SecretFlagsArgs) -> shapes.XMLRet:
        no_flags(args.flags, "secretGetXMLDesc")
        return shapes.XMLRet(secret_xml.format(self._of(args.secret).definition))

    async def set_value(self, session: Session, args: remote_secret.SecretSetValueArgs) -> Void:
        no_flags(args.flags, "secretSetValue")
        await self._secrets.set_value(self._of(args.secret), args.value)
        return Void()

    async def get_value(self, session: Session, args: remote_secret.SecretFlagsArgs) -> remote_secret.SecretValueRet:
        no_flags(args.flags, "secretGetValue")
        return remote_secret.SecretValueRet(self._secrets.get_value(self._of(args.secret)))

    async def undefine(self, session: Session, args: remote_secret.SecretArgs) -> Void:
        await self._secrets.undefine(self._of(args.secret))
        return Void()


def _on_wire(secret: KeptSecret) -> remote_object.Secret:
    kind = secret_xml.KINDS.index(secret.definition.kind)
    return remote_object.Secret(secret.uuid.bytes, kind, secret.definition.used_by)


def _matches(secret: KeptSecret, flags: int) -> bool:
    """Whether the filter lets it through: of each pair one must fit, if one is given."""
    ephemeral = EPHEMERAL if secret.definition.ephemeral else NO_EPHEMERAL
    private = PRIVATE if secret.definition.private else NO_PRIVATE
    return (not flags & (EPHEMERAL | NO_EPHEMERAL) or bool(flags & ephemeral)) and (
        not flags & (PRIVATE | NO_PRIVATE) or bool(flags & private)
    )
