"""``-tpmdev`` and ``-device`` of a TPM, whose emulator listens on a socket of the run (qemu/qemu_command.c)."""

from __future__ import annotations

from culvert.domain.definition import DomainDef
from culvert.drivers.qemu.command.command_syntax import comma, device
from culvert.ground import errors

SOCKET = "swtpm.sock"


def tpms(definition: DomainDef, folder: str | None) -> list[str]:
    """The socket is in ``folder``."""
    argv: list[str] = []
    for tpm in definition.devices.tpms:
        if folder is None:
            raise errors.InternalError(f"internal error: {tpm.alias} has no place for its socket")
        argv += ["-chardev", f"socket,id=chrtpm,path={comma(folder)}/{SOCKET}"]
        argv += ["-tpmdev", f"emulator,id=tpm-{tpm.alias},chardev=chrtpm"]
        argv += device({"driver": tpm.model, "tpmdev": f"tpm-{tpm.alias}", "id": tpm.alias})
    return argv
