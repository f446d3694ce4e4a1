"""A guest's memory and disks looked into: dumps, and pieces at once."""

from __future__ import annotations

from pathlib import Path

from culvert.daemon.service import Service, no_flags
from culvert.drivers.qemu import dump
from culvert.ground import errors
from culvert.protocol import remote_save
from culvert.protocol.constants_flag import DumpFlag, DumpFormat, PeekFlag
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

FLAGS = DumpFlag.CRASH | DumpFlag.LIVE | DumpFlag.BYPASS_CACHE | DumpFlag.RESET | DumpFlag.MEMORY_ONLY


class DumpHandlers:
    """Handlers of the dumping group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_save.DOMAIN_CORE_DUMP, self.core_dump)
        handlers.add(remote_save.DOMAIN_CORE_DUMP_WITH_FORMAT, self.core_dump_with_format)
        handlers.add(remote_save.DOMAIN_MEMORY_PEEK, self.memory_peek)
        handlers.add(remote_save.DOMAIN_BLOCK_PEEK, self.block_peek)

    async def core_dump(self, session: Session, args: remote_save.DomainCoreDumpArgs) -> Void:
        no_flags(args.flags, "qemuDomainCoreDump", FLAGS)
        await dump.dump(self._service.domain(args.dom), _file(args.to), DumpFormat.RAW, args.flags)
        return Void()

    async def core_dump_with_format(self, session: Session, args: remote_save.DomainCoreDumpWithFormatArgs) -> Void:
        no_flags(args.flags, "qemuDomainCoreDumpWithFormat", FLAGS)
        await dump.dump(self._service.domain(args.dom), _file(args.to), args.dumpformat, args.flags)
        return Void()

    async def memory_peek(self, session: Session, args: remote_save.DomainMemoryPeekArgs) -> remote_save.PeekRet:
        no_flags(args.flags, "qemuDomainMemoryPeek", PeekFlag.VIRTUAL | PeekFlag.PHYSICAL)
        _check_size(args.size)
        domain = self._service.domain(args.dom)
        return remote_save.PeekRet(await dump.peek(domain, args.offset, args.size, args.flags))

    async def block_peek(self, session: Session, args: remote_save.DomainBlockPeekArgs) -> remote_save.PeekRet:
        no_flags(args.flags, "qemuDomainBlockPeek")
        _check_size(args.size)
        domain = self._service.domain(args.dom)
        return remote_save.PeekRet(await dump.peek_disk(domain, args.path, args.offset, args.size))


def _file(name: str) -> Path:
    if not name.startswith("/") or "\0" in name:
        raise errors.InvalidArgument(f"'{name}' is no absolute path")
    return Path(name)


def _check_size(size: int) -> None:
    if size > remote_save.PEEK_MAX:
        raise errors.RpcError(f"size {size} is more than an answer holds, {remote_save.PEEK_MAX} bytes")
