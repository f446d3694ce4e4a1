"""Typed parameters: order and repetition kept, names and types checked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground import errors
from culvert.protocol import constants_migrate
from culvert.protocol.constants_migrate import JOB_STATS, MIGRATE_PARAMS, JobStat, MigrateParam
from culvert.protocol.typed_params import Value, decode, encode, loose
from culvert.protocol.types import TypedParam, TypedParamType


def test_what_is_typed_travels_with_its_type() -> None:
    assert encode([(MigrateParam.DEST_NAME, "h"), (MigrateParam.BANDWIDTH, 5)], MIGRATE_PARAMS) == [
        TypedParam("destination_name", (TypedParamType.STRING, "h")),
        TypedParam("bandwidth", (TypedParamType.ULLONG, 5)),
    ]


def test_repeated_names_are_kept_in_order() -> None:
    items: list[tuple[str, Value]] = [
        (MigrateParam.MIGRATE_DISKS, "vdb"),
        (MigrateParam.BANDWIDTH, 1),
        (MigrateParam.MIGRATE_DISKS, "vda"),
    ]
    assert decode(encode(items, MIGRATE_PARAMS), MIGRATE_PARAMS) == items


def test_an_unknown_name_is_refused_as_libvirt_refuses_it() -> None:
    with pytest.raises(errors.ArgumentUnsupported) as caught:
        decode([TypedParam("x", (TypedParamType.INT, 1))], MIGRATE_PARAMS)
    assert errors.triple(caught.value) == (74, 0, "parameter 'x' not supported")


@pytest.mark.parametrize(
    ("param", "reason"),
    [
        (
            TypedParam("bandwidth", (TypedParamType.UINT, 1)),
            "invalid type 'uint' for parameter 'bandwidth', expected 'ullong'",
        ),
        (TypedParam("destination_xml", (TypedParamType.INT, 1)), "expected 'string'"),
        (TypedParam("bandwidth", (9, 1)), "invalid type 'type 9'"),
    ],
)
def test_a_wrong_type_is_refused(param: TypedParam, reason: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=reason):
        decode([param], MIGRATE_PARAMS)


def test_a_name_that_comes_twice_is_refused() -> None:
    one = TypedParam("bandwidth", (TypedParamType.ULLONG, 1))
    with pytest.raises(errors.InvalidArgument, match="'bandwidth' occurs multiple times"):
        decode([one, one], MIGRATE_PARAMS)
    with pytest.raises(errors.InvalidArgument, match="'bandwidth' occurs multiple times"):
        encode([(MigrateParam.BANDWIDTH, 1), (MigrateParam.BANDWIDTH, 2)], MIGRATE_PARAMS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (MigrateParam.BANDWIDTH, -1),
        (MigrateParam.BANDWIDTH, 2**64),
        (MigrateParam.BANDWIDTH, "5"),
        (MigrateParam.DEST_NAME, 5),
        (MigrateParam.PARALLEL_CONNECTIONS, 2**31),
    ],
)
def test_a_value_its_type_cannot_hold_is_refused(name: str, value: Value) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"'{name}'"):
        encode([(name, value)], MIGRATE_PARAMS)


def test_loose_reads_what_it_does_not_know() -> None:
    wire = [
        TypedParam("success", (TypedParamType.BOOLEAN, 1)),
        TypedParam("future", (TypedParamType.DOUBLE, 0.5)),
    ]
    assert loose(wire) == {"success": True, "future": 0.5}


def test_job_stats_are_emitted_in_libvirts_order() -> None:
    names = list(constants_migrate.JOB_STATS)
    assert names[0] == JobStat.OPERATION
    for first, second in [("data_total", "memory_total"), ("memory_bps", "memory_constant"), ("disk_bps", "errmsg")]:
        assert names.index(first) < names.index(second)


_BY_TYPE: dict[TypedParamType, st.SearchStrategy[Value]] = {
    TypedParamType.INT: st.integers(-(2**31), 2**31 - 1),
    TypedParamType.UINT: st.integers(0, 2**32 - 1),
    TypedParamType.ULLONG: st.integers(0, 2**64 - 1),
    TypedParamType.DOUBLE: st.floats(0, 100),
    TypedParamType.BOOLEAN: st.booleans(),
    TypedParamType.STRING: st.text(max_size=9),
}


@st.composite
def stats(draw: st.DrawFn) -> list[tuple[str, Value]]:
    names = draw(st.lists(st.sampled_from(list(JOB_STATS)), unique=True))
    return [(name, draw(_BY_TYPE[JOB_STATS[name].type])) for name in names]


@given(stats())
def test_round_trip(items: list[tuple[str, Value]]) -> None:
    assert decode(encode(items, JOB_STATS), JOB_STATS) == items
    assert loose(encode(items, JOB_STATS)) == dict(items)
