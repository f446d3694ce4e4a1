"""A guest of a test on a real daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from guests import console
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny, state_of
from tests.support.virsh import virsh


@pytest.mark.parametrize("boot", ["kernel", "disk"])
@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_runs_verifies_answers_and_leaves_nothing(
    host_a: DaemonProcess, folder: Path, machine: str, boot: str
) -> None:
    with running_tiny(host_a, folder, machine=machine, boot=boot) as guest:
        guest.assert_runs_only_on(host_a)
        assert state_of(guest.uuid, host_a) == "running"
        # the console is the first serial port, which is the file; the second one is for commands
        xml = virsh("dumpxml", guest.name, uri=host_a.uri).expect()
        pty = xml.partition("<serial type='pty'>")[2].partition("path='")[2].partition("'")[0]
        with console.Console(Path(pty)) as talk:
            assert talk.verify().startswith("verify ok")
        virsh("suspend", guest.name, uri=host_a.uri).expect()
        guest.watch.assert_stopped()
        virsh("destroy", guest.name, uri=host_a.uri).expect()
        assert state_of(guest.uuid, host_a) == ""
    host_a.assert_no_leftovers()
