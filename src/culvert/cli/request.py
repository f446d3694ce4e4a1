"""A migration as the command line asks for it, in the protocol's words."""

from __future__ import annotations

from dataclasses import dataclass

from culvert.protocol import remote, typed_params, types
from culvert.protocol.constants import MIGRATE_PARAMS, MigrateFlag, MigrateParam


@dataclass(frozen=True, slots=True)
class Request:
    """The options of ``culvert migrate``.

    ``bandwidth`` in MiB/s; ``timeout`` in seconds, None for none: then the migration is cancelled, or with
    ``timeout_suspend`` the guest is suspended so that the migration can end.
    """

    destination: str
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
        }
        found = MigrateFlag(0)
        for flag, is_wanted in wanted.items():
            if is_wanted:
                found |= flag
        return found

    @property
    def params(self) -> list[types.TypedParam]:
        """Only what was typed, as virsh does it."""
        values = {
            MigrateParam.DEST_NAME: self.dname,
            MigrateParam.DEST_XML: self.xml,
            MigrateParam.PERSIST_XML: self.persistent_xml,
            MigrateParam.BANDWIDTH: self.bandwidth,
            MigrateParam.PARALLEL_CONNECTIONS: self.parallel_connections,
        }
        return typed_params.encode(
            [(name, value) for name, value in values.items() if value is not None], MIGRATE_PARAMS
        )

    def problem(self) -> str | None:
        """What cannot be meant, or None."""
        if self.offline and not self.persistent:
            return "--offline moves a definition, so it needs --persistent: otherwise nothing would arrive"
        if self.persistent_xml is not None and not self.persistent:
            return "--persistent-xml needs --persistent"
        if self.parallel_connections is not None and not self.parallel:
            return "--parallel-connections needs --parallel"
        if self.timeout_suspend and self.timeout is None:
            return "--timeout-suspend needs --timeout"
        return None

    def call(self, dom: types.Domain) -> remote.Perform3ParamsArgs:
        """The arguments of DOMAIN_MIGRATE_PERFORM3_PARAMS."""
        return remote.Perform3ParamsArgs(
            dom=dom, dconnuri=self.destination, params=self.params, cookie_in=b"", flags=int(self.flags)
        )
