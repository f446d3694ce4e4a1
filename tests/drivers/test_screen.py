"""Passwords in commands to QEMU's monitor."""

from __future__ import annotations

import json

import pytest

from culvert.drivers.qemu import screen

SET = {"execute": "set_password", "arguments": {"protocol": "vnc", "password": "new", "connected": "keep"}}


@pytest.mark.parametrize(
    ("command", "human", "password"),
    [
        (json.dumps(SET), False, "new"),
        ('{"execute": "change-vnc-password", "arguments": {"password": "p q"}}', False, "p q"),
        (json.dumps(SET).replace("vnc", "spice"), False, None),
        ('{"execute": "query-vnc"}', False, None),
        ("set_password vnc new", True, "new"),
        ("set_password vnc new keep", True, "new"),
        ("set_password spice new", True, None),
        ("change vnc password new", True, "new"),
        ("change vnc passwd new", True, "new"),
        ("info vnc", True, None),
    ],
)
def test_a_password_is_seen(command: str, human: bool, password: str | None) -> None:
    assert screen.password_in(command, human=human) == password
