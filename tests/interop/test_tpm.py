"""A guest with a TPM between culvert and a libvirtd, each of which has a swtpm of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.interop import Either, Pair, running
from tests.support.virsh import virsh

pytestmark = pytest.mark.skipif(not shutil.which("swtpm_setup"), reason="no swtpm, or no swtpm-tools")

TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"


def kept(host: Either) -> list[bytes]:
    return [path.read_bytes() for path in (host.root / "lib").rglob("*.permall")]


@pytest.mark.parametrize("begins", ["culvert", "stock"])
def test_there_and_back(hosts: Pair, folder: Path, begins: str) -> None:
    first: Either = getattr(hosts, begins)
    with running(first, folder, machine="q35", members={"devices": TPM}) as guest:
        before = kept(first)
        assert len(before) == 1
        for source in (first, hosts.other(first)):
            hosts.move(guest, source)
            assert kept(hosts.other(source)) == before, "the same keys"
            assert kept(source) == []
        virsh("destroy", guest.name, uri=first.uri).expect()
