"""Emulators that change, hang and lie: a real QEMU behind a script, or a script alone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from culvert.drivers.qemu.abilities import machines
from culvert.drivers.qemu.abilities.emulators import Emulators
from culvert.ground import errors
from tests.drivers.support import EMULATOR, domain_xml, needs_qemu, running_driver
from tests.support import processes

# Answers like a QEMU that has nothing, but for one command.
LIAR = """#!{python}
import json, re, socket, sys
fd = int(re.search(r"fd=([0-9]+)", " ".join(sys.argv))[1])
monitor, _ = socket.socket(fileno=fd).accept()
version = {{"qemu": {{"major": 9, "minor": 9, "micro": 9}}, "package": ""}}
answers = {{"qmp_capabilities": {{}}, "query-version": version, "query-target": {{"arch": "x86_64"}}, {lie}}}
def say(what):
    monitor.send(json.dumps(what).encode() + b"\\r\\n")
say({{"QMP": {{"version": version, "capabilities": []}}}})
while text := monitor.recv(65536):  # one command: there is one at a time
    asked = json.loads(text)
    named = {{"id": asked["id"]}} if "id" in asked else {{}}
    say({{"return": answers.get(asked["execute"], []), **named}})
"""


def script(path: Path, text: str) -> str:
    """Another file each time, as a package's upgrade makes it."""
    draft = path.with_name("draft")
    draft.write_text(text)
    draft.chmod(0o755)
    draft.rename(path)
    return str(path)


def wrapper(folder: Path, generation: str) -> str:
    """The real QEMU, which notes in ``asked`` that it was started to be asked."""
    note = f'case "$*" in *"-machine none"*) echo {generation} >> {folder}/asked;; esac'
    return script(folder / "qemu", f'#!/bin/sh\n{note}\nexec {EMULATOR} "$@"\n')


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().split()


@needs_qemu
async def test_each_is_asked_once_and_anew_when_it_has_changed(folder: Path) -> None:
    other = wrapper(folder, "old")
    xml = domain_xml("runs").replace(EMULATOR, other)
    async with running_driver(folder / "root") as driver:
        runs = await driver.create_xml(xml, paused=True)
        await driver.define_xml(domain_xml("second").replace(EMULATOR, other))
        assert asked(folder) == ["old"]
        assert runs.run is not None
        before = runs.run.process
        wrapper(folder, "new")
        await driver.create_xml(domain_xml("third").replace(EMULATOR, other), paused=True)
        assert asked(folder) == ["old", "new"]
        assert runs.run.process is before
        assert runs.run.abilities.flags  # its own answer, which stays
        await driver.define_xml(domain_xml("fourth").replace(EMULATOR, other))
        assert asked(folder) == ["old", "new"]
    async with running_driver(folder / "root"):
        pass
    emulators = Emulators(other, folder / "root" / "lib" / "qemu")
    assert (await emulators.look()).emulator == other
    assert asked(folder) == ["old", "new"]  # remembered on the disk


@needs_qemu
async def test_one_that_hangs_is_named_and_holds_up_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = script(folder / "hangs", f"#!/bin/sh\necho $$ > {folder}/pid\nexec sleep 1000\n")
    async with running_driver(folder / "root") as driver:
        monkeypatch.setattr(machines, "PROBE_TIMEOUT", 3.0)
        async with asyncio.TaskGroup() as tasks:
            hanging = tasks.create_task(refusal(driver.define_xml, domain_xml("waits").replace(EMULATOR, hangs)))
            while not (folder / "pid").exists():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            other = await driver.create_xml(domain_xml("other"), paused=True)
            assert "<machine" in await driver.capabilities()
            assert not hanging.done()
        error = hanging.result()
        assert isinstance(error, errors.OperationTimeout)
        assert error.message.endswith(f"emulator '{hangs}' does not tell what it can do: no answer within 3 s")
        assert other.is_active
        assert [domain.name for domain in driver.domains()] == ["other"]
    assert processes.state(int((folder / "pid").read_text())) in ("Z", "X")


async def refusal(work: Callable[[str], object], xml: str) -> errors.RequestError | None:
    try:
        await work(xml)  # type: ignore[misc]  # whatever it answers
    except errors.RequestError as err:
        return err
    return None


@needs_qemu
async def test_one_that_is_not_there_is_named(folder: Path) -> None:
    async with running_driver(folder) as driver:
        with pytest.raises(errors.SystemCallError, match="emulator '/no/such/qemu' cannot be used"):
            await driver.define_xml(domain_xml("none").replace(EMULATOR, "/no/such/qemu"))
        assert driver.domains() == []


@pytest.mark.parametrize(
    "lie",
    [
        '"query-version": {"qemu": {"major": "9"}}',
        '"query-version": []',
        '"query-machines": [{"alias": 1}]',
        '"query-machines": {"name": "pc"}',
        '"query-cpu-definitions": 7',
        '"qom-list-types": ["virtio-net-pci"]',
        '"query-command-line-options": [3]',
    ],
)
async def test_what_no_qemu_says_is_refused_in_words(tmp_path: Path, lie: str) -> None:
    liar = script(tmp_path / "liar", LIAR.format(python=sys.executable, lie=lie))
    with pytest.raises(errors.OperationFailed, match=r"liar' does not tell .*: it answers as no QEMU does"):
        await machines.probe(liar, tmp_path)


@pytest.mark.parametrize("schema", ["7", '"migrate"', '{"name": "migrate"}', "[3]", '[{"name": ["x"]}]', "[]"])
async def test_a_schema_that_is_none_is_done_without(tmp_path: Path, schema: str) -> None:
    liar = script(tmp_path / "liar", LIAR.format(python=sys.executable, lie=f'"query-qmp-schema": {schema}'))
    found = await machines.probe(liar, tmp_path)
    assert found.version == 9_009_009
    assert found.abilities.flags == frozenset()


@needs_qemu
async def test_one_that_may_not_be_named_is_not_run(folder: Path) -> None:
    """Nor by a link, nor by a way round the folders that are allowed; the default one by its other names."""
    marks = folder / "ran"
    evil = script(folder / "qemu-system-x86_64", f"#!/bin/sh\ntouch {marks}\n")
    link = folder / "bin" / "qemu-system-x86_64"
    link.parent.mkdir()
    link.symlink_to(evil)
    emulators = Emulators(EMULATOR, folder, [f"{link.parent}/qemu-system-*", "/usr/bin/qemu-system-*"])
    round_about = f"/usr/bin/qemu-system-../../..{evil}"
    for named in (evil, str(link), round_about):
        with pytest.raises(errors.ConfigUnsupported, match="is not one that may be run here"):
            await emulators.look(named)
    assert not marks.exists()
    other = folder / "kvm"
    other.symlink_to(EMULATOR)
    assert (await emulators.look(str(other))).version
