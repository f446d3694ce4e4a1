"""Debian's own qemu-guest-agent in a Linux guest answers through the daemon, before a move and after it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from guests import with_agent
from guests.domain_xml import SPARED_KIB, DomainXML, Serial
from tests.support.daemon import DaemonProcess
from tests.support.terminal import Terminal
from tests.support.virsh import Result, virsh
from tests.support.wait import wait_for

pytestmark = [pytest.mark.interop, pytest.mark.timeout(400)]

CHANNEL = "<channel type='unix'><source mode='bind'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"


def ask(host: DaemonProcess, command: str, **arguments: object) -> Result:
    asked = json.dumps({"execute": command, "arguments": arguments})
    return virsh("qemu-agent-command", "g", asked, uri=host.uri)


def told(host: DaemonProcess, command: str, **arguments: object) -> object:
    return json.loads(ask(host, command, **arguments).expect())["return"]


def connected(host: DaemonProcess) -> bool:
    return "state='connected'" in virsh("dumpxml", "g", uri=host.uri).expect()


def test_the_agent_of_debian(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    images = with_agent.build()
    domain = DomainXML(
        name="g",
        memory_kib=with_agent.MEMORY_MIB * 1024 + SPARED_KIB,
        kernel=images.kernel,
        initrd=images.initramfs,
        cmdline=with_agent.COMMAND_LINE,
        serials=(Serial("file", folder / "g.serial"),),
        machine="q35",
        devices=CHANNEL,
    )
    xml = folder / "g.xml"
    xml.write_text(domain.text())
    before = host_a.log.count(" registered")
    with Terminal(host_a.uri, "event", "--loop", "--event", "agent-lifecycle") as events:
        wait_for(lambda: host_a.log.count(" registered") > before, "the registration")
        virsh("create", str(xml), uri=host_a.uri).expect()
        assert "not connected" in ask(host_a, "guest-ping").err
        wait_for(lambda: connected(host_a), "the agent has opened its channel", 150)
        events.wait_for("state: 'connected' reason: 'channel event'")
    assert told(host_a, "guest-ping") == {}
    info = told(host_a, "guest-info")
    assert isinstance(info, dict)
    assert info["version"].startswith("7.2")
    assert virsh("domhostname", "g", "--source", "agent", uri=host_a.uri).expect().strip() == "with-agent"
    assert re.search(r"^ lo .*N/A|^ lo ", virsh("domifaddr", "g", "--source", "agent", uri=host_a.uri).expect(), re.M)
    assert abs(int(virsh("domtime", "g", uri=host_a.uri).expect().split()[-1]) - time.time()) < 3600
    about = virsh("guestinfo", "g", uri=host_a.uri).expect()
    assert re.search(r"^hostname *: with-agent$", about, re.MULTILINE), about
    assert re.search(r"^if\.0\.name *: lo$", about, re.MULTILINE), about
    # What it says no to comes back in its own words; then it answers again.
    refused = virsh("domtime", "g", "--time", "1000000000", uri=host_a.uri).err  # there is no hwclock in this guest
    assert "agent command 'guest-set-time': this feature or command is not currently supported" in refused
    assert "GenericError" in ask(host_a, "guest-file-open", path="/none/such").out
    assert "not been found" in ask(host_a, "guest-no-such-thing").out
    assert told(host_a, "guest-fsfreeze-status") == "thawed"
    assert told(host_a, "guest-fsfreeze-freeze") == 0  # it has no file system on a disk
    assert told(host_a, "guest-fsfreeze-thaw") == 0
    virsh("migrate", "--live", "--p2p", "--tunnelled", "g", host_b.tcp_uri, uri=host_a.uri, timeout=120).expect()
    wait_for(lambda: connected(host_b), "the channel is open where the guest runs now")
    assert told(host_b, "guest-ping") == {}
    virsh("suspend", "g", uri=host_b.uri).expect()
    assert "not responding" in virsh("qemu-agent-command", "g", '{"execute":"guest-ping"}', uri=host_b.uri).err
    virsh("resume", "g", uri=host_b.uri).expect()
    # The question that was never read is skipped, and its answer is nobody's.
    assert told(host_b, "guest-get-host-name") == {"host-name": "with-agent"}
    for host in (host_a, host_b):
        assert "Traceback" not in host.log
