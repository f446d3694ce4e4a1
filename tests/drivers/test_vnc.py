"""Ports for VNC servers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Collection
from pathlib import Path

import pytest

from culvert.domain import parse
from culvert.domain.definition import DomainDef
from culvert.domain.format import format
from culvert.drivers.qemu import vnc
from culvert.ground import errors
from culvert.protocol.constants_state import DomainState
from tests.drivers.support import domain_xml, needs_qemu, running_driver


def with_graphics(*graphics: str) -> DomainDef:
    return parse.parse(domain_xml("g", "".join(f"<graphics type='vnc' {one}/>" for one in graphics)))


async def resolve(graphics: str, reserved: Collection[int] = (), first: int = vnc.FIRST_PORT) -> DomainDef:
    definition = with_graphics(graphics)
    return vnc.resolve(definition, await vnc.places(definition), reserved, first)


def chosen(definition: DomainDef) -> list[int | None]:
    return [graphics.port for graphics in definition.devices.graphics]


async def test_a_fixed_port_stays() -> None:
    assert chosen(await resolve("port='5999'")) == [5999]


@pytest.mark.parametrize("graphics", ["", "autoport='yes'", "port='-1'", "port='-1' autoport='yes'"])
async def test_a_port_is_chosen(graphics: str) -> None:
    resolved = await resolve(graphics)
    (port,) = chosen(resolved)
    assert port is not None
    assert port >= vnc.FIRST_PORT
    assert vnc.ports(resolved) == {port}
    assert resolved.devices.graphics[0].autoport is True


@pytest.mark.parametrize("graphics", ["websocket='-1'", "port='5999' websocket='-1'"])
async def test_a_websocket_has_a_port_of_its_own(graphics: str) -> None:
    resolved = await resolve(graphics)
    (screen,) = resolved.devices.graphics
    assert screen.websocket is not None
    assert screen.websocket >= vnc.FIRST_WEBSOCKET
    assert vnc.ports(resolved) == {screen.port, screen.websocket}
    kept = format(resolved, migratable=True)
    assert ("websocket='-1'" in kept) == bool(screen.autoport)


@pytest.mark.parametrize("listen", ["none", "socket"])
@pytest.mark.parametrize("kind", ["vnc", "spice"])
async def test_what_listens_at_no_port_is_given_none(kind: str, listen: str) -> None:
    screen = f"<graphics type='{kind}' autoport='yes'><listen type='{listen}'/></graphics>"
    definition = parse.parse(domain_xml("g", screen))
    assert vnc.ports(vnc.resolve(definition, await vnc.places(definition), ())) == set()


async def test_reserved_and_bound_ports_are_passed_over() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = busy.getsockname()[1]
        (place,) = (await vnc.places(with_graphics(""))).values()
        assert not vnc.is_free(place, taken)
        if taken + 1 <= vnc.LAST_PORT:
            (port,) = chosen(await resolve("", {taken + 1}, taken))
            assert port is not None
            assert port > taken + 1


async def test_an_address_of_another_host() -> None:
    with pytest.raises(errors.OperationFailed, match=r"192\.0\.2\.1"):
        await resolve("listen='192.0.2.1'")


async def test_a_name_that_is_not_resolved_in_time_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()

    def silent(*arguments: object) -> list[object]:
        asked.set()
        answer.wait()
        raise socket.gaierror(socket.EAI_NONAME, "nobody knows")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    monkeypatch.setattr(vnc, "LOOKUP_TIMEOUT", 0.2)
    try:
        with pytest.raises(errors.OperationTimeout, match=r"'vnc\.example': the name is not resolved within 0\.2 s"):
            await resolve("listen='vnc.example'")
        assert asked.is_set()
    finally:
        answer.set()
    with pytest.raises(errors.OperationFailed, match="nobody knows"):
        await resolve("listen='vnc.example'")


@needs_qemu
async def test_a_port_that_is_taken_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as busy:
        # Below the ports that the kernel gives out, so that the next one is free.
        for port in range(20_000, 30_000):
            try:
                busy.bind(("127.0.0.1", port))
                break
            except OSError:
                continue
        busy.listen()
        monkeypatch.setattr(vnc, "FIRST_PORT", port)
        monkeypatch.setattr(vnc, "is_free", lambda place, port: True)
        async with running_driver(tmp_path) as driver:
            domain = await driver.create_xml(domain_xml("g", "<graphics type='vnc'/>"))
            assert domain.state is DomainState.RUNNING
            (chosen_port,) = chosen(domain.definition)
            assert chosen_port is not None
            assert chosen_port > port
            assert driver.host.vnc_ports == {chosen_port}
            listening = await domain.monitor.execute("query-vnc")
            assert listening["service"] == str(chosen_port)


@needs_qemu
async def test_a_password_is_asked_for(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.create_xml(domain_xml("g", "<graphics type='vnc' passwd='secret'/>"))
        assert (await domain.monitor.execute("query-vnc"))["auth"] == "vnc"
        assert "secret" not in await domain.xml()
        assert "secret" not in driver.layout.log_file("g").read_text()
