"""A name server that does not answer: who has asked for the name waits, and nobody else."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.virsh import Running, virsh

SERVER = "127.9.9.9"
NAME = "vnc.culvert.test"


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """What hears the questions."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        try:
            listening.bind((SERVER, 53))
        except OSError as err:
            pytest.skip(f"no name server can be played here: {err}")
        listening.settimeout(30)
        yield listening


def wait_asked(server: socket.socket, name: str) -> None:
    """Until somebody has asked for ``name``: its parts stand in the question with their lengths (RFC 1035, 3.1)."""
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    while question not in server.recv(1000):
        pass


def test_it_holds_up_nobody_else_and_not_the_end(folder: Path, server: socket.socket) -> None:
    unshare = shutil.which("unshare")
    resolvers = folder / "resolv.conf"
    resolvers.write_text(f"nameserver {SERVER}\noptions timeout:30 attempts:5\n")
    script = f'mount --bind {resolvers} /etc/resolv.conf && exec "$@"'
    within = [unshare or "unshare", "--mount", "sh", "-c", script, "culvertd"]
    if subprocess.run([*within, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system of its own can be had here")
    root = folder / "a"
    root.mkdir()
    xml = folder / "g.xml"
    xml.write_text(
        "<domain type='qemu'><name>g</name><memory>65536</memory><os><type>hvm</type></os><devices>"
        f"<graphics type='vnc' listen='{NAME}'/></devices></domain>"
    )
    with ExitStack() as stack:
        host = stack.enter_context(DaemonProcess(root, within=within))
        starting = stack.enter_context(Running(host.uri, "create", str(xml)))
        wait_asked(server, NAME)
        assert virsh("list", "--all", uri=host.uri).ok
        result = starting.finish()
        assert f"cannot listen for VNC on '{NAME}': the name is not resolved within 10 s" in result.err
        assert virsh("list", "--all", "--name", uri=host.uri).expect().split() == []
        waiting = stack.enter_context(Running(host.uri, "create", str(xml)))
        wait_asked(server, NAME)
        assert host.stop() == 0
        assert not waiting.finish().ok
    assert not os.path.exists(host.socket)
