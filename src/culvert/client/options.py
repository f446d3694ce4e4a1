"""How a migration is to be, in the protocol's words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from culvert.ground.uri import ConnectionURI
from culvert.protocol import remote_migrate, typed_params, types
from culvert.protocol.constants_migrate import MIGRATE_PARAMS, MigrateFlag, MigrateParam


@dataclass(frozen=True, slots=True)
class MigrateOptions:
    """How a migration is to be; as it is here, a running guest moves and everything else is as the daemons have it.

    The names are those of ``culvert migrate`` (docs/cli.md), which are virsh's. ``bandwidth`` and
    ``postcopy_bandwidth`` in MiB/s, ``comp_xbzrle_cache`` in bytes; ``timeout`` in seconds, None for none: then the
    migration is cancelled, or with ``timeout_suspend`` the guest is suspended so that the migration can end, with
    ``timeout_postcopy`` it goes on in post-copy. ``route``, ``compression`` and ``auto`` are words of the destination
    URI (docs/migration.md).
    """

    live: bool = True
    offline: bool = False
    persistent: bool = False
    undefinesource: bool = False
    suspend: bool = False
    unsafe: bool = False
    abort_on_error: bool = False
    dname: str | None = None
    xml: str | None = None
    persistent_xml: str | None = None
    bandwidth: int | None = None
    timeout: float | None = None
    timeout_suspend: bool = False
    parallel: bool = False
    parallel_connections: int | None = None
    postcopy: bool = False
    postcopy_after_precopy: bool = False
    postcopy_bandwidth: int | None = None
    timeout_postcopy: bool = False
    auto_converge: bool = False
    auto_converge_initial: int | None = None
    auto_converge_increment: int | None = None
    compressed: bool = False
    comp_methods: tuple[str, ...] = ()
    comp_xbzrle_cache: int | None = None
    comp_zlib_level: int | None = None
    comp_zstd_level: int | None = None
    route: str | None = None
    compression: str | None = None
    auto: bool | None = None

    @property
    def flags(self) -> MigrateFlag:
        """Always peer-to-peer; tunnelled unless there is nothing to tunnel.

        An offline migration moves a definition only, and libvirt refuses LIVE and TUNNELLED beside it.
        """
        wanted = {
            MigrateFlag.LIVE: self.live and not self.offline,
            MigrateFlag.PEER2PEER: True,
            MigrateFlag.TUNNELLED: not self.offline,
            MigrateFlag.OFFLINE: self.offline,
            MigrateFlag.PERSIST_DEST: self.persistent,
            MigrateFlag.UNDEFINE_SOURCE: self.undefinesource,
            MigrateFlag.PAUSED: self.suspend,
            MigrateFlag.UNSAFE: self.unsafe,
            MigrateFlag.ABORT_ON_ERROR: self.abort_on_error,
            MigrateFlag.PARALLEL: self.parallel,
            MigrateFlag.POSTCOPY: self.postcopy,
            MigrateFlag.AUTO_CONVERGE: self.auto_converge,
            MigrateFlag.COMPRESSED: self.compressed,
        }
        found = MigrateFlag(0)
        for flag, is_wanted in wanted.items():
            if is_wanted:
                found |= flag
        return found

    @property
    def params(self) -> list[types.TypedParam]:
        """Only what was asked for, as virsh does it."""
        values = {
            MigrateParam.DEST_NAME: self.dname,
            MigrateParam.DEST_XML: self.xml,
            MigrateParam.PERSIST_XML: self.persistent_xml,
            MigrateParam.BANDWIDTH: self.bandwidth,
            MigrateParam.PARALLEL_CONNECTIONS: self.parallel_connections,
            MigrateParam.BANDWIDTH_POSTCOPY: self.postcopy_bandwidth,
            MigrateParam.AUTO_CONVERGE_INITIAL: self.auto_converge_initial,
            MigrateParam.AUTO_CONVERGE_INCREMENT: self.auto_converge_increment,
            MigrateParam.COMPRESSION_XBZRLE_CACHE: self.comp_xbzrle_cache,
            MigrateParam.COMPRESSION_ZLIB_LEVEL: self.comp_zlib_level,
            MigrateParam.COMPRESSION_ZSTD_LEVEL: self.comp_zstd_level,
        }
        typed = [(name, value) for name, value in values.items() if value is not None]
        typed += [(MigrateParam.COMPRESSION, method) for method in self.comp_methods]
        return typed_params.encode(typed, MIGRATE_PARAMS)

    def toward(self, destination: ConnectionURI) -> ConnectionURI:
        """``destination`` as the source's daemon is to connect to it, with the words that say how."""
        words = {name: word for name in ("route", "compression") if (word := getattr(self, name)) is not None}
        if self.auto is not None:
            words["auto"] = "on" if self.auto else "off"
        return destination.with_parameters(**words)

    def problem(self, spell: Callable[[str], str] = str) -> str | None:
        """What cannot be meant, or None; ``spell`` writes the name of an option as whoever reads it knows it."""
        timed_out = spell("timeout_suspend" if self.timeout_suspend else "timeout_postcopy")
        offline, persistent, persistent_xml = spell("offline"), spell("persistent"), spell("persistent_xml")
        timeout, suspend, postcopy = spell("timeout"), spell("timeout_suspend"), spell("timeout_postcopy")
        problems = {
            f"{timeout} is {self.timeout} s, and has to be more than 0": (
                self.timeout is not None and not self.timeout > 0
            ),
            f"{offline} moves a definition, so it needs {persistent}: otherwise nothing would arrive": (
                self.offline and not self.persistent
            ),
            f"{persistent_xml} needs {persistent}": self.persistent_xml is not None and not self.persistent,
            f"{spell('parallel_connections')} needs {spell('parallel')}": (
                self.parallel_connections is not None and not self.parallel
            ),
            f"{timed_out} needs {timeout}": (
                (self.timeout_suspend or self.timeout_postcopy) and self.timeout is None
            ),
            f"{suspend} and {postcopy} end the same wait: take one": self.timeout_suspend and self.timeout_postcopy,
            f"{spell('postcopy_after_precopy')} needs {spell('postcopy')}": (
                self.postcopy_after_precopy and not self.postcopy
            ),
            f"{postcopy} needs {spell('postcopy')}": self.timeout_postcopy and not self.postcopy,
        }
        return next((problem for problem, there in problems.items() if there), None)

    def call(self, dom: types.Domain, destination: str) -> remote_migrate.Perform3ParamsArgs:
        """The arguments of DOMAIN_MIGRATE_PERFORM3_PARAMS."""
        return remote_migrate.Perform3ParamsArgs(
            dom=dom, dconnuri=destination, params=self.params, cookie_in=b"", flags=int(self.flags)
        )
