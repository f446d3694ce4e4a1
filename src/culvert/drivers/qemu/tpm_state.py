"""What a guest's TPM keeps: a folder by the domain's UUID, made by swtpm_setup before the guest first has a TPM.

It is part of what travels, for QEMU asks the emulator for it and hands it to the other one; so where a guest arrives,
or is restored, there need be nothing. It goes with a domain that is forgotten, unless ``persistent_state`` or a user
says otherwise, and with one that has left for another host.

Certificates of the keys are signed by an authority of this host, which swtpm_localca makes in a folder of culvert's:
one of the machine's own belongs to another user.

Source: qemu/qemu_tpm.c of libvirt 9.0; swtpm_setup(8), swtpm-localca.conf(5) of swtpm 0.7.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from culvert.domain.definition import DomainDef
from culvert.domain.tpm import Tpm
from culvert.drivers.qemu import belongings, environment, shared
from culvert.drivers.qemu.state.layout import DIRECTORY_MODE, Layout
from culvert.ground import errors

SETUP_TIMEOUT = 60.0  # seconds: it makes RSA keys
FOLDERS = {"1.2": "tpm1.2", "2.0": "tpm2"}
AUTHORITY = "swtpm-localca"


def tpm_of(definition: DomainDef) -> Tpm | None:
    """The one that a domain can have."""
    return next(iter(definition.devices.tpms), None)


def of_domain(definition: DomainDef, layout: Layout) -> Path:
    """The folder for all that the domain's TPMs keep."""
    return layout.swtpm / str(definition.uuid)


def folder(definition: DomainDef, layout: Layout) -> Path:
    """The folder of the one that it has now."""
    tpm = tpm_of(definition)
    return of_domain(definition, layout) / FOLDERS[(tpm.backend.version if tpm else None) or "2.0"]


def program(name: str) -> str:
    """Where it is. Raises ``errors.ConfigUnsupported`` naming the element that needs it."""
    found = shutil.which(name)
    if found is None:
        raise errors.ConfigUnsupported(
            f"unsupported configuration: /domain/devices/tpm/backend: there is no {name} here"
            " (Debian's packages swtpm and swtpm-tools)"
        )
    return found


def check(definition: DomainDef) -> None:
    """Whether this host can give the guest the TPM that it asks for; it touches the disk.

    Raises ``errors.ConfigUnsupported``, and ``errors.NoSecret``: there are none.
    """
    if (tpm := tpm_of(definition)) is None:
        return
    if tpm.backend.encryption is not None:
        raise errors.NoSecret(f"Secret not found: no secret with matching uuid '{tpm.backend.encryption}'")
    program("swtpm")
    program("swtpm_setup")


def to_make(definition: DomainDef, layout: Layout) -> Mapping[str, str]:
    """The annotation for a start of ``definition`` where the folder is missing; it touches the disk."""
    place = folder(definition, layout)
    return {belongings.TPM: str(place)} if tpm_of(definition) is not None and not place.exists() else {}


async def prepare(definition: DomainDef, layout: Layout, *, incoming: bool, log_file: Path, home: Path) -> None:
    """Have the folder there, with keys in it unless the guest brings them. ``home`` is for the programs that make it.

    Raises ``errors.InternalError`` with what they say, and then leaves none that was not there.
    """
    tpm, place = tpm_of(definition), folder(definition, layout)
    assert tpm is not None
    if incoming and await asyncio.to_thread(shared.is_shared, str(layout.swtpm)):
        return  # the source's
    made = await asyncio.to_thread(_make, place)
    if incoming:
        return
    try:
        if made:
            config = await asyncio.to_thread(_authority, layout)
            await _setup(setup_words(definition, place, config), log_file, home)
        if tpm.backend.version == "2.0" and tpm.backend.active_pcr_banks is not None:
            await _setup(banks_words(tpm, place), log_file, home)
    except BaseException:
        if made:
            await asyncio.to_thread(belongings.take_back, {belongings.TPM: str(place)})
        raise


def _make(place: Path) -> bool:
    try:
        there = place.exists()
        place.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as err:
        raise errors.SystemCallError(f"cannot make directory '{place}': {err.strerror}", errno=err.errno) from err
    return not there


def _authority(layout: Layout) -> Path:
    """The configuration of swtpm_setup; with it, that of who signs."""
    place = layout.state / AUTHORITY
    place.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    signer, options, config = (place / name for name in ("localca.conf", "localca.options", "setup.conf"))
    signer.write_text(
        f"statedir = {place}\nsigningkey = {place}/signkey.pem\nissuercert = {place}/issuercert.pem\n"
        f"certserial = {place}/certserial\n"
    )
    options.write_text("--platform-manufacturer culvert\n--platform-version 1.0\n--platform-model QEMU\n")
    config.write_text(
        f"create_certs_tool = {program('swtpm_localca')}\ncreate_certs_tool_config = {signer}\n"
        f"create_certs_tool_options = {options}\nactive_pcr_banks = sha256\n"
    )
    return config


def setup_words(definition: DomainDef, place: Path, config: Path) -> list[str]:
    """What makes keys, and certificates of them."""
    tpm = tpm_of(definition)
    return [
        program("swtpm_setup"),
        *(("--tpm2",) if tpm is not None and tpm.backend.version == "2.0" else ()),
        *("--tpm-state", str(place), "--vmid", f"{definition.name}:{definition.uuid}", "--config", str(config)),
        *("--createek", "--create-ek-cert", "--create-platform-cert", "--lock-nvram", "--not-overwrite"),
    ]


def banks_words(tpm: Tpm, place: Path) -> list[str]:
    """What chooses the banks."""
    banks = tpm.backend.active_pcr_banks
    names = ",".join(banks.names) if banks else ""
    return [program("swtpm_setup"), "--tpm2", "--tpm-state", str(place), "--pcr-banks", names, "--reconfigure"]


async def _setup(words: Sequence[str], log_file: Path, home: Path) -> None:
    env = environment.of_qemu(os.environ, uid=os.geteuid(), folder=home)
    log_fd = await asyncio.to_thread(os.open, log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        running = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=log_fd, stderr=log_fd, env=env, start_new_session=True
        )
    finally:
        os.close(log_fd)
    try:
        async with asyncio.timeout(SETUP_TIMEOUT):
            status = await running.wait()
    except TimeoutError:
        raise errors.OperationTimeout(f"'{words[0]}' has not ended within {SETUP_TIMEOUT:g} s") from None
    finally:
        if running.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, 9)  # and the emulator that it has started
            await running.wait()
    if status:
        raise errors.InternalError(
            f"internal error: Could not run '{words[0]}'. exitstatus: {status}; Check error log '{log_file}' for"
            " details."
        )


def forget(definition: DomainDef, layout: Layout, *, wanted: bool | None = None, left: bool = False) -> None:
    """The domain is gone: so is what its TPM has kept, unless it is persistent, or ``wanted`` (by the user) says
    otherwise. ``left``: it is on another host now, and what hosts share is that one's. It touches the disk.
    """
    tpm = tpm_of(definition)
    if tpm is None or (left and shared.is_shared(str(layout.swtpm))):
        return
    goes = wanted if wanted is not None else left or not tpm.backend.persistent_state
    if goes:
        shutil.rmtree(of_domain(definition, layout), ignore_errors=True)
