"""UNIX sockets at paths that do not fit into an address."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.io import address, unix_sockets


@pytest.mark.parametrize("depth", [0, 3])
def test_listen_and_connect(tmp_path: Path, depth: int) -> None:
    place = tmp_path.joinpath(*["a-rather-long-directory-name-of-fifty-characters-ok"] * depth)
    place.mkdir(parents=True, exist_ok=True)
    path = place / "monitor.sock"
    assert (len(str(path)) > address.SUN_PATH_MAX) == (depth > 0)
    with unix_sockets.listen(path) as listener, unix_sockets.connect(path) as client:
        assert not listener.getblocking()  # QEMU inherits it so
        served, _ = listener.accept()
        with served:
            client.sendall(b"hello")
            assert served.recv(5) == b"hello"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "monitor.sock"
    unix_sockets.listen(path).close()
    with pytest.raises(ConnectionRefusedError):
        unix_sockets.connect(path)
    with unix_sockets.listen(path), unix_sockets.connect(path):
        pass


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        unix_sockets.connect(tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        unix_sockets.listen(tmp_path / "absent" / "monitor.sock")
