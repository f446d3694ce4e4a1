"""What a migration was asked to do: flags and parameters, checked before anything happens; pure.

Refusals follow libvirt (qemu/qemu_migration_params.c, libvirt-domain.c): a bit nobody knows is an invalid argument, a
flag or parameter that exists but that culvert does not serve yet is refused by its own name, and combinations
without a meaning are refused with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.hypervisor.setup import Setup
from culvert.hypervisor.status import UNLIMITED_SPEED
from culvert.protocol import constants_migrate, typed_params, types
from culvert.protocol.constants_migrate import MigrateFlag, MigrateParam

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
    | MigrateFlag.POSTCOPY
    | MigrateFlag.POSTCOPY_RESUME
    | MigrateFlag.AUTO_CONVERGE
    | MigrateFlag.COMPRESSED
)

# Not sent to the destination: they concern the source alone (qemu_migration.c, what libvirt 9.0 leaves out).
SOURCE_ONLY_FLAGS = MigrateFlag.ABORT_ON_ERROR | MigrateFlag.CHANGE_PROTECTION

# What there is no use for here, and why: said with the refusal.
NOT_SERVED_BECAUSE = {
    MigrateFlag.RDMA_PIN_ALL: "the data goes through the destination's port, not by RDMA",
    MigrateFlag.TLS: "the whole connection is encrypted with a qemu+tls URI",
    MigrateFlag.ZEROCOPY: "QEMU writes into a UNIX socket, which cannot send without copying",
}

# parameter → the member of ``Options`` that holds it.
_MEMBERS = {
    MigrateParam.BANDWIDTH: "bandwidth",
    MigrateParam.DEST_NAME: "destination_name",
    MigrateParam.DEST_XML: "destination_xml",
    MigrateParam.URI: "migrate_uri",
    MigrateParam.LISTEN_ADDRESS: "listen_address",
    MigrateParam.GRAPHICS_URI: "graphics_uri",
    MigrateParam.DISKS_PORT: "disks_port",
    MigrateParam.DISKS_URI: "disks_uri",
    MigrateParam.PARALLEL_CONNECTIONS: "parallel_connections",
    MigrateParam.PERSIST_XML: "persistent_xml",
    MigrateParam.BANDWIDTH_POSTCOPY: "bandwidth_postcopy",
    MigrateParam.BANDWIDTH_AVAIL_SWITCHOVER: "avail_switchover_bandwidth",
    MigrateParam.AUTO_CONVERGE_INITIAL: "throttle_initial",
    MigrateParam.AUTO_CONVERGE_INCREMENT: "throttle_increment",
    MigrateParam.COMPRESSION_XBZRLE_CACHE: "xbzrle_cache",
    MigrateParam.COMPRESSION_ZLIB_LEVEL: "zlib_level",
    MigrateParam.COMPRESSION_ZSTD_LEVEL: "zstd_level",
    MigrateParam.CULVERT_PREEMPT: "preempt",
    MigrateParam.CULVERT_OPTIONAL: "optional",
    MigrateParam.CULVERT_INSTEAD: "instead",
}
SUPPORTED_PARAMETERS = frozenset(_MEMBERS) | {MigrateParam.COMPRESSION}

PARALLEL_DEFAULT = 2  # multifd-channels of a QEMU that was told nothing (qapi/migration.json)
PARALLEL_MAX = 255
PORT_MAX = 65535
XBZRLE = "xbzrle"
MULTIFD_METHODS = frozenset({"zlib", "zstd"})
COMPRESSION_METHODS = frozenset({XBZRLE}) | MULTIFD_METHODS
_THROTTLES = range(1, 100)  # percent (qapi/migration.json, cpu-throttle-initial)
# Parameters whose 0 is not the same as not having been named.
_ZERO_MEANS = frozenset(
    {
        *(MigrateParam.AUTO_CONVERGE_INITIAL, MigrateParam.AUTO_CONVERGE_INCREMENT),
        *(MigrateParam.COMPRESSION_XBZRLE_CACHE, MigrateParam.COMPRESSION_ZLIB_LEVEL),
        MigrateParam.COMPRESSION_ZSTD_LEVEL,
    }
)
_LEVELS = {"zlib_level": range(10), "zstd_level": range(21)}  # multifd-zlib-level, multifd-zstd-level


@dataclass(frozen=True, slots=True)
class Options:
    """One migration as asked. 0 or ``None`` where nothing was named.

    Bandwidths in MiB/s; ``throttle_…`` in percent of the guest's CPU time; ``xbzrle_cache`` in bytes;
    ``avail_switchover_bandwidth``: what the source's QEMU foretells the downtime by, not by what it measures.
    ``compression`` holds libvirt's words, ``xbzrle``, ``zlib``, ``zstd``. ``preempt`` is not asked for by anybody:
    the source finds it out (``combinations.agree``). ``optional``: post-copy is only what ``autopilot`` would like,
    and ``instead`` so many connections where it cannot be had.
    ``throttle_max``: what ``autopilot`` lets QEMU do by itself; it stays at the source.

    Where a culvert listens is in its configuration, it has no SPICE whose client could be told to follow, and disks
    are not copied: ``listen_address``, ``graphics_uri``, ``disks_port`` and ``disks_uri`` are for a libvirtd.
    """

    flags: MigrateFlag = NO_FLAGS
    migrate_uri: str | None = None
    listen_address: str | None = None
    graphics_uri: str | None = None
    disks_port: int = 0
    disks_uri: str | None = None
    destination_name: str | None = None
    destination_xml: str | None = None
    persistent_xml: str | None = None
    bandwidth: int = 0
    parallel_connections: int = 0
    bandwidth_postcopy: int = 0
    avail_switchover_bandwidth: int = 0
    throttle_initial: int | None = None
    throttle_increment: int | None = None
    throttle_max: int | None = None
    compression: tuple[str, ...] = ()
    xbzrle_cache: int | None = None
    zlib_level: int | None = None
    zstd_level: int | None = None
    preempt: bool = False
    optional: bool = False
    instead: int = 0

    @property
    def postcopy(self) -> bool:
        """Whether the migration may go over to post-copy."""
        return self.has(MigrateFlag.POSTCOPY)

    @property
    def xbzrle(self) -> bool:
        """Whether changed pages are sent as differences: what COMPRESSED alone means (qemu_migration_params.c)."""
        return XBZRLE in self.compression or (self.has(MigrateFlag.COMPRESSED) and not self.compression)

    @property
    def multifd_compression(self) -> str:
        """How parallel connections are compressed, in QEMU's word."""
        return next((method for method in self.compression if method in MULTIFD_METHODS), "none")

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
        postcopy = self.postcopy and return_path
        return Setup(
            return_path=return_path,
            connections=self.connections,
            postcopy=postcopy,
            preempt=self.preempt and postcopy,
            postcopy_bandwidth=self.bandwidth_postcopy * MiB or None,
            auto_converge=self.has(MigrateFlag.AUTO_CONVERGE),
            throttle_initial=self.throttle_initial or 0,
            throttle_increment=self.throttle_increment or 0,
            throttle_max=self.throttle_max or 0,
            xbzrle=self.xbzrle,
            xbzrle_cache=self.xbzrle_cache or 0,
            compression=self.multifd_compression,
            zlib_level=self.zlib_level,
            zstd_level=self.zstd_level,
        )

    def without_postcopy(self) -> Options:
        """The same where post-copy cannot be had."""
        connections = self.instead or self.parallel_connections
        without = replace(self, preempt=False, optional=False, instead=0, parallel_connections=connections)
        return without.without_flags(MigrateFlag.POSTCOPY)

    def for_destination(self) -> Options:
        """The same without what concerns the source alone: a libvirtd that is older than it would refuse."""
        return replace(self, avail_switchover_bandwidth=0)

    def without_places(self) -> Options:
        """The same without what is of no use to a culvert, or in a tunnel."""
        return replace(self, listen_address=None, graphics_uri=None, disks_port=0, disks_uri=None)

    def with_flags(self, flags: MigrateFlag) -> Options:
        """The same with ``flags`` added."""
        return replace(self, flags=self.flags | flags)

    def without_flags(self, flags: MigrateFlag) -> Options:
        """The same without ``flags``."""
        return replace(self, flags=self.flags & ~flags)

    def to_typed(self) -> list[types.TypedParam]:
        """The parameters (flags travel beside them) in the protocol's form."""
        values = [(name, getattr(self, member)) for name, member in _MEMBERS.items()]
        values += [(MigrateParam.COMPRESSION, method) for method in self.compression]
        named = [(name, value) for name, value in values if value or (value is not None and name in _ZERO_MEANS)]
        return typed_params.encode(named, constants_migrate.MIGRATE_PARAMS)


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
            + "".join(f"; {why}" for flag, why in NOT_SERVED_BECAUSE.items() if flag & flags)
        )
    return flags


def check_combination(options: Options) -> None:
    """Refuse what has no meaning together; raises ``OperationInvalid``, ``InvalidArgument`` or, for what libvirt
    refuses in a tunnel, ``ArgumentUnsupported``."""
    if options.has(MigrateFlag.OFFLINE):
        if options.has(MigrateFlag.TUNNELLED):
            raise errors.OperationInvalid("tunnelled offline migration does not make sense")
        if options.has(MigrateFlag.LIVE):
            raise errors.InvalidArgument("migration flags LIVE and OFFLINE are mutually exclusive")
        if not options.has(MigrateFlag.PERSIST_DEST):
            raise errors.OperationInvalid("offline migration must be specified with the persistent flag set")
    if options.has(MigrateFlag.TUNNELLED) and not options.has(MigrateFlag.PEER2PEER):
        raise errors.InvalidArgument("migration flag TUNNELLED needs PEER2PEER: use --p2p --tunnelled")
    if options.has(MigrateFlag.TUNNELLED):
        for name, value in (("migration URI", options.migrate_uri), ("listen address", options.listen_address)):
            if value:
                raise errors.ArgumentUnsupported(f"{name} is not supported by tunnelled migration")
    if not 0 <= options.disks_port <= PORT_MAX:
        raise errors.InvalidArgument(f"disks_port is {options.disks_port}, which is not between 0 and {PORT_MAX}")
    if not 0 <= options.parallel_connections <= PARALLEL_MAX:
        raise errors.InvalidArgument(
            f"parallel.connections is {options.parallel_connections}, which is not between 1 and {PARALLEL_MAX}"
        )
    if not 0 <= options.instead <= PARALLEL_MAX:
        raise errors.InvalidArgument(
            f"culvert.parallel.instead is {options.instead}, not between 0 and {PARALLEL_MAX}"
        )
    _check_tuning(options)
    if options.persistent_xml and not options.has(MigrateFlag.PERSIST_DEST):
        raise errors.InvalidArgument("persistent_xml needs migration flag PERSIST_DEST (--persistent)")


def _check_tuning(options: Options) -> None:
    """What tunes something needs that to be on (qemu_migration_params.c), and a value that QEMU has."""
    throttles = {"initial": options.throttle_initial, "increment": options.throttle_increment}
    for name, value in throttles.items():
        if value is not None and not options.has(MigrateFlag.AUTO_CONVERGE):
            raise errors.InvalidArgument(f"Turn auto convergence on to tune it (auto_converge.{name})")
        if value is not None and value not in _THROTTLES:
            raise errors.InvalidArgument(f"auto_converge.{name} is {value}, which is not between 1 and 99 percent")
    if options.avail_switchover_bandwidth > UNLIMITED_SPEED:
        raise errors.InvalidArgument(f"invalid argument: bandwidth must be less than {UNLIMITED_SPEED + 1}")
    if options.has(MigrateFlag.COMPRESSED) and options.has(MigrateFlag.PARALLEL) and not options.compression:
        raise errors.InvalidArgument("invalid argument: No compression algorithm selected for parallel migration")
    for method in options.compression:
        if method not in COMPRESSION_METHODS:
            raise errors.ArgumentUnsupported(
                f"compression method '{method}' is not supported by culvert: xbzrle is, and with --parallel zlib and "
                "zstd are; nothing was changed"
            )
    if len(set(options.compression)) < len(options.compression):
        raise errors.InvalidArgument(f"a compression method is named twice: {', '.join(options.compression)}")
    if options.xbzrle_cache is not None and not options.xbzrle:
        raise errors.InvalidArgument("Turn xbzrle compression on to tune it")
    for member, allowed in _LEVELS.items():
        method, level = member.removesuffix("_level"), getattr(options, member)
        if level is not None and method not in options.compression:
            raise errors.InvalidArgument(f"Turn {method} compression on to tune it")
        if level is not None and level not in allowed:
            raise errors.InvalidArgument(f"compression.{method}.level is {level}, not between 0 and {allowed[-1]}")


def from_typed(params: Sequence[types.TypedParam], flags: int) -> Options:
    """Options from the parameters of the ``…3_PARAMS`` calls.

    Raises as ``check_flags``, and for parameters: ``ArgumentUnsupported`` for one that libvirt does not know or
    culvert does not serve, ``InvalidArgument`` for one of the wrong type.
    """
    checked = check_flags(flags)
    values = typed_params.decode(params, constants_migrate.MIGRATE_PARAMS)
    if refused := sorted({name for name, _ in values if name not in SUPPORTED_PARAMETERS}):
        raise errors.ArgumentUnsupported(
            f"migration parameter {', '.join(refused)} is not supported by culvert; nothing was changed"
        )
    members = {_MEMBERS[name]: value for name, value in values if name != MigrateParam.COMPRESSION}
    methods = tuple(str(value) for name, value in values if name == MigrateParam.COMPRESSION)
    return Options(flags=checked, compression=methods, **members)  # type: ignore[arg-type]  # checked above
