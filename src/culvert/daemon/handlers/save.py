"""Domains put into files and taken out again."""

from __future__ import annotations

from culvert.daemon.service import Service, no_flags
from culvert.protocol import remote
from culvert.rpc.dispatch import Handlers
from culvert.rpc.session import Session


class Save:
    """Handlers of the saving group."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, handlers: Handlers) -> None:
        """The procedures served here."""
        handlers.add(remote.DOMAIN_HAS_MANAGED_SAVE_IMAGE, self.has_managed_save_image)

    async def has_managed_save_image(self, session: Session, args: remote.DomainFlagsArgs) -> remote.ManagedSaveRet:
        no_flags(args.flags, "qemuDomainHasManagedSaveImage")
        return remote.ManagedSaveRet(int(self._service.domain(args.dom).has_managed_save))
