"""What a migration was asked to do: flags and parameters, checked before anything happens; pure.

Refusals follow libvirt (qemu/qemu_migration_params.c, libvirt-domain.c): a bit nobody knows is an invalid argument, a
flag or parameter that exists but that culvert does not serve yet is refused by its own name, and combinations
without a meaning are refused with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from culvert.drivers.qemu.migration import Setup
from culvert.ground import errors
from culvert.protocol import constants, typed_params, types
from culvert.protocol.constants import MigrateFlag

NO_FLAGS = MigrateFlag(0)

SUPPORTED_FLAGS = (
    MigrateFlag.LIVE
    | MigrateFlag.PEER2PEER
    | MigrateFlag.TUNNELLED
    | MigrateFlag.PERSIST_DEST
    | MigrateFlag.UNDEFINE_SOURCE
    | MigrateFlag.PAUSED
    | MigrateFlag.CHANGE_PROTECTION
    | MigrateFlag.UNSAFE
    | MigrateFlag.OFFLINE
    | MigrateFlag.ABORT_ON_ERROR
    | MigrateFlag.PARALLEL
)

# Not sent to the destination: they concern the source alone (qemu_migration.c, what libvirt 9.0 leaves out).
SOURCE_ONLY_FLAGS = MigrateFlag.ABORT_ON_ERROR | MigrateFlag.CHANGE_PROTECTION

# parameter → the member of ``Options`` that holds it.
_MEMBERS = {
    "bandwidth": "bandwidth",
    "destination_name": "destination_name",
    "destination_xml": "destination_xml",
    "migrate_uri": "migrate_uri",
    "parallel.connections": "parallel_connections",
    "persistent_xml": "persistent_xml",
}
SUPPORTED_PARAMETERS = frozenset(_MEMBERS)

PARALLEL_DEFAULT = 2  # multifd-channels of a QEMU that was told nothing (qapi/migration.json)
PARALLEL_MAX = 255


@dataclass(frozen=True, slots=True)
class Options:
    """One migration as asked. ``bandwidth`` in MiB/s, 0 where none was named; so ``parallel_connections``."""

    flags: MigrateFlag = NO_FLAGS
    migrate_uri: str | None = None
    destination_name: str | None = None
    destination_xml: str | None = None
    persistent_xml: str | None = None
    bandwidth: int = 0
    parallel_connections: int = 0

    @property
    def connections(self) -> int:
        """Channels for memory besides the main one; 0: everything goes through that.

        A number alone asks for them too: libvirt's client does not let PARALLEL and TUNNELLED pass together.
        """
        if self.parallel_connections or not self.has(MigrateFlag.PARALLEL):
            return self.parallel_connections
        return PARALLEL_DEFAULT

    def has(self, flag: MigrateFlag) -> bool:
        """Whether ``flag`` was asked for."""
        return bool(self.flags & flag)

    def setup(self, *, return_path: bool = False) -> Setup:
        """What the QEMUs of both sides are told for a way that has, or has not, a return path."""
        return Setup(return_path=return_path, connections=self.connections)

    def with_flags(self, flags: MigrateFlag) -> Options:
        """The same with ``flags`` added."""
        return replace(self, flags=self.flags | flags)

    def without_flags(self, flags: MigrateFlag) -> Options:
        """The same without ``flags``."""
        return replace(self, flags=self.flags & ~flags)

    def to_typed(self) -> list[types.TypedParam]:
        """The parameters (flags travel beside them) in the protocol's form."""
        values = {name: getattr(self, member) for name, member in _MEMBERS.items()}
        return typed_params.encode([(n, v) for n, v in values.items() if v], constants.MIGRATE_PARAMS)


def check_flags(value: int) -> MigrateFlag:
    """The flags in ``value``.

    Raises ``errors.InvalidArgument`` for bits that libvirt does not know, and ``errors.ArgumentUnsupported`` naming
    every flag that culvert does not serve.
    """
    known = MigrateFlag(0)
    for flag in MigrateFlag:
        known |= flag
    if unknown := value & ~known.value:
        raise errors.InvalidArgument(f"unsupported flags (0x{unknown:x}) in a migration call")
    flags = MigrateFlag(value)
    if refused := [flag.name or hex(flag) for flag in MigrateFlag if flag & flags & ~SUPPORTED_FLAGS]:
        raise errors.ArgumentUnsupported(
            f"migration flag {', '.join(refused)} is not supported by culvert; nothing was changed"
        )
    return flags


def check_combination(options: Options) -> None:
    """Refuse what has no meaning together; raises ``OperationInvalid`` or ``InvalidArgument``."""
    if options.has(MigrateFlag.OFFLINE):
        if options.has(MigrateFlag.TUNNELLED):
            raise errors.OperationInvalid("tunnelled offline migration does not make sense")
        if options.has(MigrateFlag.LIVE):
            raise errors.InvalidArgument("migration flags LIVE and OFFLINE are mutually exclusive")
        if not options.has(MigrateFlag.PERSIST_DEST):
            raise errors.OperationInvalid("offline migration must be specified with the persistent flag set")
    if options.has(MigrateFlag.TUNNELLED) and not options.has(MigrateFlag.PEER2PEER):
        raise errors.InvalidArgument("migration flag TUNNELLED needs PEER2PEER: use --p2p --tunnelled")
    if not 0 <= options.parallel_connections <= PARALLEL_MAX:
        raise errors.InvalidArgument(
            f"parallel.connections is {options.parallel_connections}, which is not between 1 and {PARALLEL_MAX}"
        )
    if options.persistent_xml and not options.has(MigrateFlag.PERSIST_DEST):
        raise errors.InvalidArgument("persistent_xml needs migration flag PERSIST_DEST (--persistent)")


def from_typed(params: Sequence[types.TypedParam], flags: int) -> Options:
    """Options from the parameters of the ``…3_PARAMS`` calls.

    Raises as ``check_flags``, and for parameters: ``ArgumentUnsupported`` for one that libvirt does not know or
    culvert does not serve, ``InvalidArgument`` for one of the wrong type.
    """
    checked = check_flags(flags)
    values = typed_params.decode(params, constants.MIGRATE_PARAMS)
    if refused := sorted({name for name, _ in values if name not in SUPPORTED_PARAMETERS}):
        raise errors.ArgumentUnsupported(
            f"migration parameter {', '.join(refused)} is not supported by culvert; nothing was changed"
        )
    members = {_MEMBERS[name]: value for name, value in values}
    return Options(flags=checked, **members)  # type: ignore[arg-type]  # names and types were checked above
