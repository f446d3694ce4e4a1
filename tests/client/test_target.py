"""Which daemon and which domain a command means."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from culvert.client import target
from culvert.ground import errors, uri
from tests.client.fake import FakeDaemon, Guest, serving


@pytest.mark.parametrize(
    ("environment", "uid", "expected"),
    [
        ({"CULVERT_URI": "qemu+tcp://h/system"}, 0, "qemu+tcp://h/system"),
        ({}, 0, "qemu+unix:///system?socket=/run/culvert/culvert-sock"),
        ({"CULVERT_URI": "", "XDG_RUNTIME_DIR": "/x"}, 0, "qemu+unix:///system?socket=/run/culvert/culvert-sock"),
        ({"XDG_RUNTIME_DIR": "/x"}, 1000, "qemu+unix:///session?socket=/x/culvert/culvert-sock"),
        ({}, 1000, "qemu+unix:///session?socket=/run/user/1000/culvert/culvert-sock"),
    ],
)
def test_default_uri(environment: dict[str, str], uid: int, expected: str) -> None:
    assert target.default_uri(environment, uid) == expected
    assert str(uri.parse(expected)) == expected.replace("tcp://h/", "tcp://h:16509/")


@pytest.mark.parametrize(
    ("text", "is_uuid"),
    [
        ("c7a5fdbd-edaf-9455-926a-d65c16db1809", True),
        ("c7a5fdbdedaf9455926ad65c16db1809", False),  # a name, to virsh
        ("g", False),
        ("x" * 36, False),
    ],
)
def test_as_uuid(text: str, is_uuid: bool) -> None:
    assert (target.as_uuid(text) is not None) is is_uuid


async def test_a_domain_is_found_by_id_uuid_and_name(tmp_path: Path) -> None:
    async with serving(FakeDaemon(tmp_path / "s")) as daemon, target.opened(daemon.uri) as client:
        guest = daemon.add(Guest("g"))
        odd = daemon.add(Guest("12345", state=5))
        for text in ("7", "g", str(UUID(bytes=guest.dom.uuid))):
            assert await target.find(client, text) == guest.dom
        assert await target.find(client, "12345") == odd.dom
        with pytest.raises(errors.RemoteError, match="no domain with matching name 'x'"):
            await target.find(client, "x")


async def test_no_daemon_is_said_with_its_uri(tmp_path: Path) -> None:
    nowhere = FakeDaemon(tmp_path / "none").uri
    with pytest.raises(target.Unreachable) as caught:
        async with target.opened(nowhere):
            pass
    assert str(nowhere) in str(caught.value)


async def test_what_the_block_raises_comes_out_as_it_is(tmp_path: Path) -> None:
    async with serving(FakeDaemon(tmp_path / "s")) as daemon:
        with pytest.raises(ZeroDivisionError):
            async with target.opened(daemon.uri):
                raise ZeroDivisionError
