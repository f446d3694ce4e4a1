"""``query-qmp-schema``, asked by libvirt's paths."""

from __future__ import annotations

from typing import Any

import pytest

from culvert.drivers.qemu.abilities.schema import Schema

ENTITIES: list[dict[str, Any]] = [
    {"name": "migrate", "meta-type": "command", "arg-type": "1", "ret-type": "0", "features": ["old"]},
    {"name": "0", "meta-type": "object", "members": []},
    {"name": "str", "meta-type": "builtin", "json-type": "string"},
    {
        "name": "1",
        "meta-type": "object",
        "members": [
            {"name": "uri", "type": "str"},
            {"name": "channels", "type": "[2]"},
            {"name": "mode", "type": "3"},
        ],
    },
    {"name": "[2]", "meta-type": "array", "element-type": "2"},
    {
        "name": "2",
        "meta-type": "object",
        "tag": "transport",
        "members": [{"name": "transport", "type": "3"}],
        "variants": [{"case": "socket", "type": "4"}, {"case": "file", "type": "0"}],
    },
    {"name": "3", "meta-type": "enum", "members": [{"name": "normal"}], "values": ["normal"]},
    {"name": "4", "meta-type": "object", "members": [{"name": "path", "type": "5"}]},
    {"name": "5", "meta-type": "alternate", "members": [{"type": "str"}, {"type": "6"}]},
    {"name": "6", "meta-type": "object", "members": [{"name": "fd", "type": "str"}]},
    {"name": "MIGRATION", "meta-type": "event", "arg-type": "7"},
    {"name": "7", "meta-type": "object", "members": [{"name": "status", "type": "8"}]},
    {"name": "8", "meta-type": "enum", "values": ["active"]},
]


@pytest.mark.parametrize(
    "path",
    [
        "migrate",
        "migrate/$old",
        "migrate/ret-type",
        "migrate/arg-type/uri",
        "migrate/arg-type/mode/^normal",
        "migrate/arg-type/channels/transport",
        "migrate/arg-type/channels/+socket/path",
        "migrate/arg-type/channels/path/fd",
        "MIGRATION/arg-type/status/^active",
    ],
)
def test_there(path: str) -> None:
    assert Schema(ENTITIES).has(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "1/uri",
        "migrate/$new",
        "migrate/arg-type/nothing",
        "migrate/arg-type/mode/^odd",
        "migrate/arg-type/channels/+file/path",
        "migrate/arg-type/channels/+rdma",
        "migrate/arg-type/mode/^normal/more",
        "MIGRATION/ret-type",
    ],
)
def test_not_there(path: str) -> None:
    assert not Schema(ENTITIES).has(path)


@pytest.mark.parametrize(
    "entities",
    [
        [],
        [{}],
        [{"name": "migrate"}],
        [{"name": "migrate", "meta-type": "command", "arg-type": 3}],
        [{"name": "migrate", "meta-type": "command", "arg-type": "gone"}],
        [{"name": "migrate", "meta-type": "command", "arg-type": "migrate"}],
        [
            {"name": "migrate", "meta-type": "command", "arg-type": "a"},
            {"name": "a", "meta-type": "object", "variants": [{"case": "x", "type": "b"}]},
            {"name": "b", "meta-type": "object", "variants": [{"case": "x", "type": "a"}]},
        ],
    ],
)
def test_one_that_lies_knows_nothing(entities: list[dict[str, Any]]) -> None:
    assert not Schema(entities).has("migrate/arg-type/uri")
