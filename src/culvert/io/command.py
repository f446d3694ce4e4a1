"""Programs of others that are run to their end: with a deadline, beside the loop, never longer than the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Collection, Sequence

from culvert.ground import errors

MOST_OUTPUT = 1 << 20  # bytes of output that are kept
KILL_TIMEOUT = 30.0  # seconds for the kernel to end a killed program


async def run(words: Sequence[str], *, timeout: float, pass_fds: Collection[int] = ()) -> str:
    """What the program ``words`` has printed. It is killed at the deadline, when the caller is cancelled, and with
    the daemon.

    Raises ``errors.InternalError`` with what it has said when it fails, or is not there, ``errors.OperationTimeout``.
    """
    # util-linux's: the kernel ends the program with the thread that has started it, the loop's.
    bound = shutil.which("setpriv")
    argv = [*((bound, "--pdeathsig", "KILL", "--") if bound else ()), *words]
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=tuple(pass_fds),
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as err:
        raise errors.InternalError(f"cannot run {words[0]}: {err.strerror}") from err
    try:
        async with asyncio.timeout(timeout):
            told = await _output(process)
            code = await process.wait()
    except TimeoutError as err:
        raise errors.OperationTimeout(f"{words[0]} has not ended within {timeout:g} s") from err
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILL_TIMEOUT):
                    await asyncio.shield(process.wait())
    text = told.decode(errors="replace")
    if code == 0:
        return text
    how = f"exit status {code}" if code > 0 else f"fatal signal {-code}"
    raise errors.InternalError(f"Child process ({' '.join(words)}) unexpected {how}: {text.strip()}")


async def _output(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    kept = bytearray()
    while data := await process.stdout.read(1 << 16):
        kept += data[: MOST_OUTPUT - len(kept)]
    return bytes(kept)
