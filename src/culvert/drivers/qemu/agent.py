"""The guest agent: a program in the guest that answers JSON commands on a channel (QEMU's docs/interop/qemu-ga.rst).

Every conversation begins with ``guest-sync-delimited``: what an earlier one has left in the channel is skipped, and
an agent that does not answer it is told from one that is merely slow. One conversation at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from culvert.domain.chardev import ChannelDevice
from culvert.domain.definition import DomainDef
from culvert.drivers.qemu.domain import Domain
from culvert.drivers.qemu.run import Run
from culvert.ground import errors, json_text
from culvert.ground.units import MiB
from culvert.io import unix_sockets

NAME = "org.qemu.guest_agent.0"
SYNC_TIMEOUT = 5.0  # seconds; VIR_DOMAIN_QEMU_AGENT_COMMAND_DEFAULT
BLOCK = 86400.0  # seconds that stand for "as long as it takes"
ANSWER_MAX = 16 * MiB  # bytes of an answer
SENTINEL = b"\xff"  # what the answer to guest-sync-delimited begins with


def channel(definition: DomainDef) -> ChannelDevice | None:
    """The agent's channel, if the guest has one."""
    for one in definition.devices.channels:
        if one.target.name == NAME and one.type == "unix":
            return one
    return None


async def command(domain: Domain, text: str, timeout: float = SYNC_TIMEOUT) -> str:
    """Give the agent a command as JSON text and return its answer as JSON text.

    Raises ``errors.ArgumentUnsupported`` for a guest without the channel, ``errors.AgentUnresponsive`` when nobody
    answers within ``timeout`` seconds, ``errors.InvalidArgument`` for text that is no command.
    """
    parsed = _parsed(text)
    run = domain.require_active()
    path = _path(domain, run)
    try:
        async with domain.agent_lock, asyncio.timeout(SYNC_TIMEOUT + timeout), _connected(path) as (reader, writer):
            await _synchronise(reader, writer)
            await _write(writer, parsed)
            answer = await _read(reader)
    except TimeoutError as err:
        raise errors.AgentUnresponsive(
            f"Guest agent is not responding: the agent of domain '{domain.name}' has not answered in time"
        ) from err
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as err:
        raise errors.AgentUnresponsive(
            f"Guest agent is not responding: Guest agent of domain '{domain.name}' is not available for now: {err}"
        ) from err
    return answer


async def execute(domain: Domain, name: str, **arguments: object) -> Any:
    """The ``return`` of one agent command. Raises as ``command``, and ``errors.OperationFailed`` with its error."""
    with believed(domain, name):
        answer = json_text.read(await command(domain, json.dumps({"execute": name, "arguments": arguments})))
        if "error" in answer:
            said = answer["error"].get("desc", answer["error"])
            raise errors.OperationFailed(f"internal error: unable to execute QEMU agent command '{name}': {said}")
        return answer["return"]


@contextlib.contextmanager
def believed(domain: Domain, name: str) -> Iterator[None]:
    """Around what reads the agent's answer to ``name``, which is whatever the guest likes.

    Raises ``errors.OperationFailed`` for an answer that is not of the form it should have.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as err:
        raise errors.OperationFailed(
            f"internal error: the agent of domain '{domain.name}' has answered '{name}' with something else"
        ) from err


async def shut_down(domain: Domain, mode: str) -> None:
    """Ask the agent to power the guest off (``powerdown``) or to start it anew (``reboot``); it does not answer that.

    Raises as ``command`` when there is no agent.
    """
    await execute(domain, "guest-ping")
    with contextlib.suppress(errors.AgentUnresponsive):
        await command(domain, json.dumps({"execute": "guest-shutdown", "arguments": {"mode": mode}}), 1.0)


def _parsed(text: str) -> dict[str, Any]:
    try:
        parsed = json_text.read(text)
    except ValueError as err:
        raise errors.InvalidArgument(f"cannot parse json {text}: {err}") from err
    if not isinstance(parsed, dict) or not isinstance(parsed.get("execute"), str):
        raise errors.InvalidArgument("an agent command must be a JSON object with an 'execute' member")
    return parsed


def _path(domain: Domain, run: Run) -> Path:
    found = channel(run.definition)
    if found is None:
        raise errors.ArgumentUnsupported("QEMU guest agent is not configured")
    if found.target.state != "connected":
        raise errors.AgentUnresponsive("Guest agent is not responding: QEMU guest agent is not connected")
    if found.source is not None and found.source.path:
        return Path(found.source.path)
    return run.runtime / NAME


@contextlib.asynccontextmanager
async def _connected(path: Path) -> Any:
    reader, writer = await asyncio.open_unix_connection(sock=unix_sockets.connect(path), limit=ANSWER_MAX)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _synchronise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    wanted = random.getrandbits(31)
    # The agent drops what it has of an unfinished command when it sees the sentinel.
    writer.write(SENTINEL)
    await _write(writer, {"execute": "guest-sync-delimited", "arguments": {"id": wanted}})
    async with asyncio.timeout(SYNC_TIMEOUT):
        while True:
            await reader.readuntil(SENTINEL)
            told = json_text.read(await _read(reader))
            if isinstance(told, dict) and told.get("return") == wanted:
                return


async def _write(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> str:
    line = await reader.readuntil(b"\n")
    return line.strip().decode()
