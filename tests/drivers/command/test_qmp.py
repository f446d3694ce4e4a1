"""What QEMU's monitor is given for a character device is what its command line would have been given."""

from __future__ import annotations

from typing import Any

import pytest

from culvert.drivers.qemu.command.command_chardev import as_qmp


@pytest.mark.parametrize(
    ("text", "kind", "data"),
    [
        ("pty,id=c", "pty", {}),
        ("socket,id=c,path=/a,,b,server=on,wait=off", "socket",
         {"addr": {"type": "unix", "data": {"path": "/a,b"}}, "server": True, "wait": False}),
        ("socket,id=c,host=h,port=1,telnet=on,reconnect=5", "socket",
         {"addr": {"type": "inet", "data": {"host": "h", "port": "1"}}, "server": False, "telnet": True,
          "reconnect": 5}),
        ("udp,id=c,host=h,port=1,localaddr=l,localport=2", "udp",
         {"remote": {"type": "inet", "data": {"host": "h", "port": "1"}},
          "local": {"type": "inet", "data": {"host": "l", "port": "2"}}}),
        ("file,id=c,path=/f,append=on,logfile=/l,logappend=off", "file",
         {"out": "/f", "append": True, "logfile": "/l", "logappend": False}),
        ("pipe,id=c,path=/p", "pipe", {"device": "/p"}),
        ("spicevmc,id=c,name=usbredir", "spicevmc", {"type": "usbredir"}),
        ("spiceport,id=c,name=org.x", "spiceport", {"fqdn": "org.x"}),
        ("qemu-vdagent,id=c,name=vdagent,clipboard=on", "qemu-vdagent", {"clipboard": True}),
    ],
)  # fmt: skip
def test_as_qmp(text: str, kind: str, data: dict[str, Any]) -> None:
    assert as_qmp(text) == {"id": "c", "backend": {"type": kind, "data": data}}
