"""A real QEMU that cannot load what comes: its own words are told, whether it ends by that or stays to be asked."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from culvert.domain import parse
from culvert.drivers.qemu.abilities.ability import Ability
from culvert.drivers.qemu.migration import QemuIncoming, QemuOutgoing
from culvert.ground import errors
from culvert.hypervisor.setup import Setup
from culvert.hypervisor.status import GIVEN_UP
from culvert.protocol.constants_flag import XMLFlag
from culvert.tunnel import relay
from guests import domain_xml
from tests.drivers.support import PATIENCE, needs_qemu, running_driver

pytestmark = needs_qemu


@pytest.mark.parametrize("postcopy", [False, True], ids=["pre-copy", "post-copy allowed"])
@pytest.mark.parametrize("one", [True, False], ids=["a descriptor", "a path"])
async def test_its_words_are_told(folder: Path, postcopy: bool, one: bool) -> None:
    """The machine that waits lacks a device of the one that comes."""
    guest = domain_xml.tiny_guest(folder, "tiny")
    rng = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng></devices>"
    setup = Setup(return_path=True, postcopy=postcopy)
    async with running_driver(folder / "a") as here, running_driver(folder / "b") as there:
        source = await here.create_xml(guest.xml.replace("</devices>", rng))
        definition = parse.parse(await source.xml(XMLFlag.MIGRATABLE))
        less = replace(definition, devices=replace(definition.devices, rngs=()))
        assert less != definition
        destination = await there.launch_incoming(less)
        stays = Ability.INCOMING_EXIT_ON_ERROR in destination.require_active().abilities
        with (
            contextlib.closing(QemuOutgoing(source)) as outgoing,
            contextlib.closing(QemuIncoming(destination)) as incoming,
        ):
            async with asyncio.timeout(PATIENCE):
                if one:
                    ours, theirs = relay.channel()
                    with ours, theirs:
                        await incoming.start(theirs, setup, continued=True)
                        await outgoing.start(ours, setup)
                else:
                    await incoming.start(folder / "way", setup, continued=True)
                    await outgoing.start(folder / "way", setup)
                with pytest.raises(errors.OperationFailed, match="virtio-rng") as caught:
                    await incoming.loaded()
                assert "load of migration failed" in str(caught.value)
                assert destination.exited.is_set() is not stays
                assert await incoming.why(EOFError("nothing")) is caught.value
                assert await outgoing.settled() in GIVEN_UP
