"""Whom a change concerns: the guest that runs, the definition for its next start, or both (VIR_DOMAIN_AFFECT_*)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from culvert.domain.definition import DomainDef
from culvert.drivers.qemu.domain import Domain
from culvert.ground import errors
from culvert.protocol.constants_flag import AffectFlag


@dataclass(frozen=True, slots=True)
class Impact:
    """``live``: the running guest; ``config``: the persistent definition."""

    live: bool
    config: bool


def impact(domain: Domain, flags: int) -> Impact:
    """What ``flags`` mean for ``domain`` as it is now; neither flag means whatever it is at the moment.

    Raises ``errors.OperationInvalid`` for LIVE when it does not run and CONFIG when it has no persistent definition.
    """
    live, config = bool(flags & AffectFlag.LIVE), bool(flags & AffectFlag.CONFIG)
    if not live and not config:
        live = domain.is_active
        config = not live
    if live:
        domain.require_active()
    if config and not domain.is_persistent:
        raise errors.OperationInvalid(f"transient domains do not have any persistent config: '{domain.name}'")
    return Impact(live, config)


def chosen(domain: Domain, flags: int) -> DomainDef:
    """The one definition that a question with ``flags`` is about. Raises as ``impact``, and for both at once."""
    if flags & AffectFlag.LIVE and flags & AffectFlag.CONFIG:
        raise errors.InvalidArgument("invalid argument: flags 'LIVE' and 'CONFIG' are mutually exclusive")
    about = impact(domain, flags)
    if about.live:
        return domain.require_active().definition
    assert domain.persistent is not None
    return domain.persistent


async def keep(domain: Domain, change: Callable[[DomainDef], DomainDef], about: Impact) -> None:
    """Apply ``change`` to the definitions that ``about`` names; on the disk on return.

    ``change`` may raise; then nothing has changed. The persistent definition is written before anything is replaced.
    """
    run = domain.require_active() if about.live else None
    if run is not None:
        change(run.definition)  # whether it can be; meanwhile the guest itself may change what is known of it
    if about.config:
        await domain.change_persistent(change)
    if run is not None:
        run.definition = change(run.definition)
        await domain.persist()
