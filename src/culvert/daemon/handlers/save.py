"""Domains put into files and taken out again."""

from __future__ import annotations

from pathlib import Path

from culvert.daemon.service import Service, no_flags
from culvert.domain import format as xml_format
from culvert.domain import parse as xml_parse
from culvert.drivers.qemu import nvram, save
from culvert.ground import errors
from culvert.io import apart
from culvert.protocol import remote_save, shapes, typed_params
from culvert.protocol.constants_flag import SaveFlag, XMLFlag
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session
from culvert.xdr.struct import Void

STATES = SaveFlag.RUNNING | SaveFlag.PAUSED


class SaveHandlers:
    """Handlers of the saving group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote_save.DOMAIN_SAVE, self.save)
        handlers.add(remote_save.DOMAIN_SAVE_FLAGS, self.save_flags)
        handlers.add(remote_save.DOMAIN_SAVE_PARAMS, self.save_params)
        handlers.add(remote_save.DOMAIN_RESTORE, self.restore)
        handlers.add(remote_save.DOMAIN_RESTORE_FLAGS, self.restore_flags)
        handlers.add(remote_save.DOMAIN_RESTORE_PARAMS, self.restore_params)
        handlers.add(remote_save.DOMAIN_SAVE_IMAGE_GET_XML_DESC, self.image_xml)
        handlers.add(remote_save.DOMAIN_SAVE_IMAGE_DEFINE_XML, self.define_image)
        handlers.add(remote_save.DOMAIN_MANAGED_SAVE, self.managed_save)
        handlers.add(remote_save.DOMAIN_HAS_MANAGED_SAVE_IMAGE, self.has_managed_save_image)
        handlers.add(remote_save.DOMAIN_MANAGED_SAVE_REMOVE, self.managed_save_remove)
        handlers.add(remote_save.DOMAIN_MANAGED_SAVE_GET_XML_DESC, self.managed_save_xml)
        handlers.add(remote_save.DOMAIN_MANAGED_SAVE_DEFINE_XML, self.define_managed_save)

    async def save(self, session: Session, args: remote_save.DomainSaveArgs) -> Void:
        await save.save(self._service.domain(args.dom), _file(args.to))
        return Void()

    async def save_flags(self, session: Session, args: remote_save.DomainSaveFlagsArgs) -> Void:
        running = _running(args.flags, "qemuDomainSaveFlags", SaveFlag.BYPASS_CACHE)
        await save.save(
            self._service.domain(args.dom),
            _file(args.to),
            xml=args.dxml,
            running=running,
            bypass_cache=_bypasses(args.flags),
        )
        return Void()

    async def save_params(self, session: Session, args: remote_save.DomainSaveParamsArgs) -> Void:
        running = _running(args.flags, "qemuDomainSaveParams", SaveFlag.BYPASS_CACHE)
        file, xml = _params(typed_params.loose(args.params))
        await save.save(
            self._service.domain(args.dom), file, xml=xml, running=running, bypass_cache=_bypasses(args.flags)
        )
        return Void()

    async def restore(self, session: Session, args: remote_save.DomainRestoreArgs) -> Void:
        await save.restore(self._service.driver, _file(args.origin))
        return Void()

    async def restore_flags(self, session: Session, args: remote_save.DomainRestoreFlagsArgs) -> Void:
        running = _running(args.flags, "qemuDomainRestoreFlags", SaveFlag.BYPASS_CACHE | SaveFlag.RESET_NVRAM)
        await save.restore(
            self._service.driver,
            _file(args.origin),
            xml=args.dxml,
            running=running,
            bypass_cache=_bypasses(args.flags),
            annotations=_wishes(args.flags),
        )
        return Void()

    async def restore_params(self, session: Session, args: remote_save.DomainRestoreParamsArgs) -> Void:
        running = _running(args.flags, "qemuDomainRestoreParams", SaveFlag.BYPASS_CACHE | SaveFlag.RESET_NVRAM)
        file, xml = _params(typed_params.loose(args.params))
        await save.restore(
            self._service.driver,
            file,
            xml=xml,
            running=running,
            bypass_cache=_bypasses(args.flags),
            annotations=_wishes(args.flags),
        )
        return Void()

    async def image_xml(self, session: Session, args: remote_save.SaveImageArgs) -> shapes.XMLRet:
        return shapes.XMLRet(await _shown(_file(args.file), args.flags, "qemuDomainSaveImageGetXMLDesc"))

    async def define_image(self, session: Session, args: remote_save.SaveImageDefineArgs) -> Void:
        running = _running(args.flags, "qemuDomainSaveImageDefineXML")
        await save.define(_file(args.file), args.dxml, running=running)
        return Void()

    async def managed_save(self, session: Session, args: shapes.DomainFlagsArgs) -> Void:
        running = _running(args.flags, "qemuDomainManagedSave", SaveFlag.BYPASS_CACHE)
        await save.managed_save(self._service.domain(args.dom), running=running, bypass_cache=_bypasses(args.flags))
        return Void()

    async def has_managed_save_image(
        self, session: Session, args: shapes.DomainFlagsArgs
    ) -> remote_save.ManagedSaveRet:
        no_flags(args.flags, "qemuDomainHasManagedSaveImage")
        return remote_save.ManagedSaveRet(int(self._service.domain(args.dom).has_managed_save))

    async def managed_save_remove(self, session: Session, args: shapes.DomainFlagsArgs) -> Void:
        no_flags(args.flags, "qemuDomainManagedSaveRemove")
        domain = self._service.domain(args.dom)
        async with domain.changing("remove the managed save image of"):
            await save.remove(domain)
        return Void()

    async def managed_save_xml(self, session: Session, args: shapes.DomainFlagsArgs) -> shapes.XMLRet:
        path = save.managed_image(self._service.domain(args.dom))
        return shapes.XMLRet(await _shown(path, args.flags, "qemuDomainManagedSaveGetXMLDesc"))

    async def define_managed_save(self, session: Session, args: remote_save.ManagedSaveDefineArgs) -> Void:
        running = _running(args.flags, "qemuDomainManagedSaveDefineXML")
        path = save.managed_image(self._service.domain(args.dom))
        if args.dxml is not None:
            await save.define(path, args.dxml, running=running)
        return Void()


def _file(name: str) -> Path:
    """A file of the daemon's host. Raises ``errors.InvalidArgument`` for a name that depends on where it runs."""
    path = Path(name)
    if not path.is_absolute() or "\0" in name:
        raise errors.InvalidArgument(f"invalid argument: '{name}' is no absolute path")
    return path


def _bypasses(flags: int) -> bool:
    return bool(flags & SaveFlag.BYPASS_CACHE)


def _wishes(flags: int) -> dict[str, str]:
    return {nvram.RESET: "yes"} if flags & SaveFlag.RESET_NVRAM else {}


def _running(flags: int, procedure: str, others: int = 0) -> bool | None:
    """What the flags say of the state after a restore; ``None``: nothing. ``others`` are those that may be there."""
    no_flags(flags, procedure, STATES | others)
    if flags & STATES == STATES:
        raise errors.InvalidArgument("invalid argument: running and paused flags are mutually exclusive")
    return bool(flags & SaveFlag.RUNNING) if flags & STATES else None


def _params(told: dict[str, typed_params.Value]) -> tuple[Path, str | None]:
    """VIR_DOMAIN_SAVE_PARAM_FILE, _DXML; of the image's formats there is ``raw``.

    Raises ``errors.ArgumentUnsupported`` for other formats and parameters, and ``errors.InvalidArgument`` for what is
    no format and, as libvirt does, for channels to and from anything but a sparse image.
    """
    for name in sorted(set(told) - {"file", "dxml", "image_format", "parallel.channels"}):
        raise errors.ArgumentUnsupported(f"parameter '{name}' not supported")
    match told.get("image_format", "raw"):
        case "raw":
            pass
        case "gzip" | "bzip2" | "xz" | "lzop" | "zstd" | "sparse" as named:
            raise errors.ArgumentUnsupported(f"save image format '{named}' is not supported by culvert: 'raw' is")
        case other:
            raise errors.InvalidArgument(f"invalid argument: Invalid image_format '{other}'")
    if "parallel.channels" in told:
        raise errors.InvalidArgument(
            "invalid argument: Parallel save is only supported with the 'sparse' save image format"
        )
    if "file" not in told:
        raise errors.OperationUnsupported("a domain is saved in a file only: parameter 'file' is missing")
    xml = told.get("dxml")
    return _file(str(told["file"])), None if xml is None else str(xml)


async def _shown(path: Path, flags: int, procedure: str) -> str:
    no_flags(flags, procedure, XMLFlag.SECURE)
    text, secure = await save.describe(path), bool(flags & XMLFlag.SECURE)
    return await apart.run(lambda: xml_format.format(xml_parse.parse(text), secure=secure))
