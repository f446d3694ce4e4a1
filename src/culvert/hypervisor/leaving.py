"""In which states a guest can be taken out of its hypervisor: by a migration, into a file; pure.

One table for every way out, because a state that is lost on one way is lost on the other: what travels is QEMU's
stream in both, and QEMU says at the other end only that the guest ran or was paused (migration/global_state.c). A
guest in S3 arrives paused there, and no wake-up reaches it any more (with 7.2.22; QEMU keeps it from 9.0 on).
"""

from __future__ import annotations

from collections.abc import Mapping

from culvert.ground import errors
from culvert.protocol.constants_state import DomainState

CAN_LEAVE: dict[DomainState, str] = {
    DomainState.NOSTATE: "its state is not known",
    DomainState.RUNNING: "",
    DomainState.BLOCKED: "",
    DomainState.PAUSED: "",
    DomainState.SHUTDOWN: "it is being shut down",
    DomainState.SHUTOFF: "it does not run",
    DomainState.CRASHED: "it has crashed",
    DomainState.PMSUSPENDED: "it is suspended to memory (S3), which would be lost: wake it up first",
}
"""State → why not; empty for those in which it can."""


BOUND = "autodestroy"
"""Annotation of a guest that ends with a connection to this host's daemon, whose number it is."""


def refusal(operation: str, name: str, state: DomainState) -> errors.OperationInvalid | None:
    """Why domain ``name`` cannot leave in ``state``, if it cannot; ``operation`` is for the text."""
    why = CAN_LEAVE[state]
    if not why:
        return None
    return errors.OperationInvalid(f"cannot {operation} domain '{name}' in state {state.name}: {why}")


def check_bound(operation: str, name: str, annotations: Mapping[str, str]) -> None:
    """Raise ``errors.OperationInvalid`` when it ends with a connection: the other host does not see that end."""
    if BOUND in annotations:
        raise errors.OperationInvalid(
            f"cannot {operation} domain '{name}': domain is marked for auto destroy, with a connection to this host"
        )


def check(operation: str, name: str, state: DomainState) -> None:
    """Raise ``refusal``."""
    if (refused := refusal(operation, name, state)) is not None:
        raise refused
