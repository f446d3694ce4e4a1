"""Ansible's community.libvirt drives domains."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from guests import domain_xml
from tests.support.daemon import DaemonProcess

pytestmark = pytest.mark.interop


def test_a_playbook(host_a: DaemonProcess, folder: Path) -> None:
    xml = domain_xml.tiny_guest(folder, "t").write_xml()
    virt, uri = "community.libvirt.virt", host_a.uri
    steps: list[dict[str, Any]] = [
        {virt: {"command": "define", "xml": f"{{{{ lookup('file', '{xml}') }}}}", "uri": uri}},
        {virt: {"name": "t", "state": "running", "uri": uri}},
        {virt: {"name": "t", "state": "running", "uri": uri}, "register": "again", "failed_when": "again.changed"},
        {virt: {"name": "t", "command": "status", "uri": uri}, "register": "now"},
        {"assert": {"that": "now.status == 'running'"}},
        {virt: {"command": "list_vms", "uri": uri}, "register": "all"},
        {"assert": {"that": "all.list_vms == ['t']"}},
        *[{virt: {"command": command, "uri": uri}} for command in ("info", "nodeinfo", "freemem", "virttype")],
        {virt: {"name": "t", "command": "get_xml", "uri": uri}},
        {virt: {"name": "t", "state": "paused", "uri": uri}},
        {virt: {"name": "t", "state": "running", "autostart": True, "uri": uri}},
        {"community.libvirt.virt_net": {"command": "list_nets", "uri": uri}, "register": "nets"},
        {"assert": {"that": "nets.list_nets == []"}},
        {"community.libvirt.virt_pool": {"command": "list_pools", "uri": uri}, "register": "pools"},
        {"assert": {"that": "pools.list_pools == []"}},
        {virt: {"name": "t", "state": "destroyed", "uri": uri}},
        {virt: {"name": "t", "command": "undefine", "uri": uri}},
        {virt: {"command": "list_vms", "uri": uri}, "register": "rest"},
        {"assert": {"that": "rest.list_vms == []"}},
    ]
    python = {"ansible_python_interpreter": "/usr/bin/python3"}
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": python, "tasks": steps}]
    book = folder / "play.yml"
    book.write_text(json.dumps(play))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", str(book)],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
        env={**environment, "HOME": str(folder), "ANSIBLE_LOCAL_TEMP": str(folder), "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
