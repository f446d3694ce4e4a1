"""The list of domains: names, UUIDs, clashes, what is on the disk, and incoming guests."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest
from lxml import etree

from culvert.domain import parse
from culvert.drivers.qemu import power
from culvert.drivers.qemu.guests import QemuGuests
from culvert.ground import errors
from culvert.protocol.constants_flag import ListFlag
from culvert.protocol.constants_state import (
    DomainEvent,
    DomainState,
    PausedReason,
    ShutoffReason,
    StoppedDetail,
    UndefinedDetail,
)
from tests.drivers.support import Heard, domain_xml, needs_qemu, running_driver

pytestmark = needs_qemu

UUID_A = "11111111-2222-4333-8444-000000000001"
UUID_B = "11111111-2222-4333-8444-000000000002"


async def test_lookups(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g", uuid=UUID_A))
        assert driver.lookup_by_name("g") is domain
        assert driver.lookup_by_uuid(UUID(UUID_A)) is domain
        assert driver.lookup_by_uuid(UUID(UUID_A).bytes) is domain
        with pytest.raises(errors.NoDomain, match="'h'"):
            driver.lookup_by_name("h")
        with pytest.raises(errors.NoDomain, match=UUID_B):
            driver.lookup_by_uuid(UUID(UUID_B))
        for number in (-1, 0, 1):
            with pytest.raises(errors.NoDomain, match=f"id {number}"):
                driver.lookup_by_id(number)


async def test_name_and_uuid_belong_together(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        await driver.define_xml(domain_xml("g", uuid=UUID_A))
        for xml, text in (
            (domain_xml("g", uuid=UUID_B), "already exists"),
            (domain_xml("h", uuid=UUID_A), "already defined"),
            (domain_xml("g"), "already exists"),
        ):
            for call in (driver.define_xml, driver.create_xml):
                with pytest.raises(errors.DomainExists, match=text):
                    await call(xml)
            with pytest.raises(errors.DomainExists, match=text):
                await driver.launch_incoming(parse.parse(xml))
        assert [domain.name for domain in driver.domains()] == ["g"]


@pytest.mark.parametrize("name", ["a/b", "x" * 300, "."])
async def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    async with running_driver(tmp_path) as driver:
        with pytest.raises(errors.RequestError):
            await driver.define_xml(domain_xml(name))
        with pytest.raises(errors.RequestError):
            await driver.create_xml(domain_xml(name))
        assert driver.domains() == []


async def test_what_is_not_given_is_made_up_and_kept(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        first, second = await driver.define_xml(domain_xml("g")), await driver.define_xml(domain_xml("h"))
        assert first.uuid != second.uuid
        shown = etree.fromstring(await first.xml())
        assert shown.findtext("uuid") == str(first.uuid)
        assert str(shown.xpath("string(os/type/@machine)")).startswith("pc-i440fx-")
    async with running_driver(tmp_path) as driver:
        assert [(one.name, one.uuid) for one in driver.domains()] == [("g", first.uuid), ("h", second.uuid)]
        assert await driver.lookup_by_name("g").xml() == await first.xml()


async def test_definitions_that_contradict_each_other_are_set_aside(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        await driver.define_xml(domain_xml("g", uuid=UUID_A))
        original = driver.layout.definition("g")
        driver.layout.definition("other").write_text(original.read_text())
        driver.layout.definition("broken").write_text("<domain")
    async with running_driver(tmp_path) as driver:
        assert [domain.name for domain in driver.domains()] == ["g"]
        kept = sorted(path.name for path in driver.layout.definitions.iterdir())
        assert kept == ["broken.xml.unreadable", "g.xml", "other.xml.unreadable"]


async def test_filters(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        await driver.define_xml(domain_xml("off"))
        await driver.create_xml(domain_xml("transient"), paused=True)
        assert [one.name for one in driver.domains(ListFlag.ACTIVE)] == ["transient"]
        assert [one.name for one in driver.domains(ListFlag.PERSISTENT)] == ["off"]
        assert [one.name for one in driver.domains(ListFlag.PAUSED)] == ["transient"]
        with pytest.raises(errors.InvalidArgument):
            driver.domains(1 << 20)


async def test_create_of_a_defined_domain_starts_that_domain(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        domain = await driver.define_xml(domain_xml("g", uuid=UUID_A))
        created = await driver.create_xml(domain_xml("g", uuid=UUID_A, memory=24))
        assert created is domain
        assert domain.info().max_memory == 24 * 1024
        with pytest.raises(errors.OperationInvalid, match="already active"):
            await driver.create_xml(domain_xml("g", uuid=UUID_A))
        await power.destroy(domain)
        assert domain.info().max_memory == 16 * 1024


async def test_the_same_domain_twice_at_once(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        xml = domain_xml("g", uuid=UUID_A)
        results = await asyncio.gather(driver.create_xml(xml), driver.create_xml(xml), return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["Domain", "OperationInvalid"]
        assert [domain.state for domain in driver.domains()] == [DomainState.RUNNING]


async def test_an_incoming_guest(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        heard = Heard(driver)
        domain = await driver.launch_incoming(parse.parse(domain_xml("g", uuid=UUID_A)), "renamed")
        assert (domain.name, domain.state, domain.reason) == ("renamed", DomainState.PAUSED, PausedReason.MIGRATION)
        assert (await domain.monitor.execute("query-status"))["status"] == "inmigrate"
        assert heard.names == [("STARTED", "MIGRATED")]
        domain.annotations["phase"] = "prepare"
        await domain.persist()
        await domain.became_persistent(domain.definition)
        await domain.kill(ShutoffReason.FAILED, StoppedDetail.FAILED)
        assert heard.names[-1] == ("STOPPED", "FAILED")
        assert (domain.state, domain.reason) == (DomainState.SHUTOFF, ShutoffReason.FAILED)
        assert domain.annotations == {}
        assert driver.lookup_by_name("renamed") is domain


async def test_a_deep_root(tmp_path: Path) -> None:
    root = tmp_path.joinpath(*["a-directory-name-that-is-quite-long-for-a-socket-path"] * 3)
    channel = "<channel type='unix'><target type='virtio' name='org.example.0'/></channel>"
    async with running_driver(root) as driver:
        domain = await driver.create_xml(domain_xml("g" * 200, channel))
        assert domain.state is DomainState.RUNNING
        assert (domain.require_active().runtime / "org.example.0").is_socket()


async def test_capabilities_node_and_version(tmp_path: Path) -> None:
    async with running_driver(tmp_path) as driver:
        root = etree.fromstring(await driver.capabilities())
        assert root.findtext("host/uuid") == str(driver.host_uuid)
        assert (await driver.node_info()).cpus > 0
        assert driver.version >= 7_000_000


async def test_a_definition_that_a_migration_takes_away(tmp_path: Path) -> None:
    """Those who listen hear why, as from libvirt 12.9 on."""
    async with running_driver(tmp_path) as driver:
        told: list[tuple[int, int]] = []
        driver.events.subscribe(lambda event: told.append((event.event, event.detail)))
        for name in ("g", "h"):
            await driver.define_xml(domain_xml(name))
        told.clear()
        await QemuGuests(driver).undefine(driver.lookup_by_name("g"))
        await driver.undefine(driver.lookup_by_name("h"))
        assert told == [
            (DomainEvent.UNDEFINED, UndefinedDetail.MIGRATED),
            (DomainEvent.UNDEFINED, UndefinedDetail.REMOVED),
        ]
