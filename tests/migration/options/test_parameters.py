"""Flags and parameters: what is refused, by which name, before anything happens."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.ground import errors
from culvert.hypervisor.setup import Setup
from culvert.migration.options import parameters
from culvert.migration.options.parameters import Options
from culvert.protocol import types
from culvert.protocol.constants_migrate import MigrateFlag

REFUSED = [flag for flag in MigrateFlag if not flag & parameters.SUPPORTED_FLAGS]


@pytest.mark.parametrize("flag", REFUSED, ids=lambda flag: flag.name)
def test_a_flag_that_is_not_served_is_refused_by_name(flag: MigrateFlag) -> None:
    with pytest.raises(errors.ArgumentUnsupported, match=rf"\b{flag.name}\b"):
        parameters.check_flags(MigrateFlag.LIVE | flag)


def test_all_supported_flags_pass_together() -> None:
    assert parameters.check_flags(int(parameters.SUPPORTED_FLAGS)) == parameters.SUPPORTED_FLAGS


@given(st.integers(21, 63))
def test_unknown_bits_are_invalid(bit: int) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"0x{1 << bit:x}"):
        parameters.check_flags(1 | 1 << bit)


F = MigrateFlag

COMBINATIONS = [
    (Options(flags=F.OFFLINE | F.PEER2PEER | F.TUNNELLED | F.PERSIST_DEST), errors.OperationInvalid, "tunnelled"),
    (Options(flags=F.OFFLINE | F.LIVE | F.PERSIST_DEST), errors.InvalidArgument, "mutually exclusive"),
    (Options(flags=F.OFFLINE), errors.OperationInvalid, "persistent"),
    (Options(flags=F.TUNNELLED), errors.InvalidArgument, "PEER2PEER"),
    (
        Options(flags=F.PEER2PEER | F.TUNNELLED, migrate_uri="tcp://h"),
        errors.ArgumentUnsupported,
        "migration URI is not",
    ),
    (
        Options(flags=F.PEER2PEER | F.TUNNELLED, listen_address="::"),
        errors.ArgumentUnsupported,
        "listen address is not",
    ),
    (Options(disks_port=-1), errors.InvalidArgument, "disks_port is -1"),
    (Options(disks_port=65536), errors.InvalidArgument, "disks_port is 65536"),
    (Options(parallel_connections=-1), errors.InvalidArgument, "not between 1 and 255"),
    (Options(parallel_connections=256), errors.InvalidArgument, "not between 1 and 255"),
    (Options(persistent_xml="<domain/>"), errors.InvalidArgument, "PERSIST_DEST"),
    (Options(throttle_initial=20), errors.InvalidArgument, "Turn auto convergence on"),
    (Options(flags=F.AUTO_CONVERGE, throttle_increment=0), errors.InvalidArgument, "between 1 and 99"),
    (Options(flags=F.AUTO_CONVERGE, throttle_initial=100), errors.InvalidArgument, "between 1 and 99"),
    (Options(compression=("mt",)), errors.ArgumentUnsupported, "'mt' is not supported"),
    (Options(compression=("zlib", "zlib")), errors.InvalidArgument, "named twice"),
    (Options(compression=("zlib",), xbzrle_cache=4096), errors.InvalidArgument, "Turn xbzrle compression on"),
    (Options(compression=("zlib",), zstd_level=3), errors.InvalidArgument, "Turn zstd compression on"),
    (Options(compression=("zlib",), zlib_level=10), errors.InvalidArgument, "between 0 and 9"),
    (Options(compression=("zstd",), zstd_level=-1), errors.InvalidArgument, "between 0 and 20"),
    (Options(instead=300), errors.InvalidArgument, "culvert.parallel.instead is 300"),
]


@pytest.mark.parametrize(("options", "kind", "text"), COMBINATIONS)
def test_combinations_without_meaning(options: Options, kind: type[errors.RequestError], text: str) -> None:
    with pytest.raises(kind, match=text):
        parameters.check_combination(options)


TAKEN = [
    Options(flags=F.PEER2PEER, migrate_uri="tcp://h", listen_address="::", graphics_uri="vnc://h", disks_port=65535),
    Options(flags=F.PEER2PEER | F.TUNNELLED, graphics_uri="spice://h:5900", disks_port=49153, disks_uri="tcp://h"),
]


@pytest.mark.parametrize("options", TAKEN)
def test_what_managers_send_is_taken(options: Options) -> None:
    parameters.check_combination(options)
    assert options.without_places() == Options(flags=options.flags, migrate_uri=options.migrate_uri)


CONNECTIONS = [
    (Options(), 0),
    (Options(flags=F.PARALLEL), parameters.PARALLEL_DEFAULT),
    (Options(flags=F.PARALLEL, parallel_connections=4), 4),
    (Options(parallel_connections=4), 4),
]


@pytest.mark.parametrize(("options", "connections"), CONNECTIONS)
def test_how_many_connections(options: Options, connections: int) -> None:
    assert options.connections == connections


SETUPS = [
    (Options(), Setup(return_path=True)),
    (Options(flags=F.POSTCOPY, preempt=True), Setup(return_path=True, postcopy=True, preempt=True)),
    (Options(preempt=True), Setup(return_path=True)),
    (
        Options(flags=F.POSTCOPY, bandwidth_postcopy=3),
        Setup(return_path=True, postcopy=True, postcopy_bandwidth=3 << 20),
    ),
    (
        Options(flags=F.AUTO_CONVERGE, throttle_initial=30),
        Setup(return_path=True, auto_converge=True, throttle_initial=30),
    ),
    (Options(flags=F.COMPRESSED), Setup(return_path=True, xbzrle=True)),
    (Options(flags=F.COMPRESSED, compression=("xbzrle",)), Setup(return_path=True, xbzrle=True)),
    (
        Options(flags=F.PARALLEL | F.COMPRESSED, compression=("zstd",), zstd_level=0),
        Setup(return_path=True, connections=2, compression="zstd", zstd_level=0),
    ),
]


@pytest.mark.parametrize(("options", "setup"), SETUPS)
def test_what_both_qemus_are_told(options: Options, setup: Setup) -> None:
    parameters.check_combination(options)
    assert options.setup(return_path=True) == setup
    assert not options.setup().postcopy


def test_connections_in_the_place_of_post_copy() -> None:
    wanted = Options(flags=F.LIVE | F.POSTCOPY, preempt=True, optional=True, instead=4)
    assert wanted.connections == 0
    assert wanted.without_postcopy() == Options(flags=F.LIVE, parallel_connections=4)
    assert Options(flags=F.POSTCOPY, parallel_connections=2).without_postcopy() == Options(parallel_connections=2)


@given(
    st.builds(
        Options,
        flags=st.sampled_from([F(0), F.LIVE, F.LIVE | F.PEER2PEER]),
        migrate_uri=st.none() | st.text(min_size=1),
        listen_address=st.none() | st.text(min_size=1),
        graphics_uri=st.none() | st.text(min_size=1),
        disks_port=st.integers(0, 65535),
        disks_uri=st.none() | st.text(min_size=1),
        destination_name=st.none() | st.text(min_size=1),
        destination_xml=st.none() | st.text(min_size=1),
        persistent_xml=st.none() | st.text(min_size=1),
        bandwidth=st.integers(0, 2**63),
        parallel_connections=st.integers(0, 255),
        bandwidth_postcopy=st.integers(0, 2**40),
        avail_switchover_bandwidth=st.integers(0, 2**40),
        throttle_initial=st.none() | st.integers(0, 99),
        throttle_increment=st.none() | st.integers(0, 99),
        compression=st.lists(st.sampled_from(["xbzrle", "zlib", "zstd"]), unique=True).map(tuple),
        xbzrle_cache=st.none() | st.integers(0, 2**40),
        zlib_level=st.none() | st.integers(0, 9),
        zstd_level=st.none() | st.integers(0, 20),
        preempt=st.booleans(),
        optional=st.booleans(),
        instead=st.integers(0, 255),
    )
)
def test_parameters_survive_the_way_to_the_wire_and_back(options: Options) -> None:
    assert parameters.from_typed(options.to_typed(), int(options.flags)) == options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("compression.mt.level", (1, 4)),
        ("migrate_disks", (7, "vda")),
        ("migrate_disks_detect_zeroes", (7, "vda")),
        ("migrate_disks_target_zero", (7, "vda")),
    ],
)
def test_parameters_that_are_not_served_are_refused_by_name(name: str, value: tuple[int, object]) -> None:
    with pytest.raises(errors.ArgumentUnsupported, match=f"migration parameter {re.escape(name)} is not supported"):
        parameters.from_typed([types.TypedParam(name, value)], 0)  # type: ignore[arg-type]


def test_parallel_connections_are_not_compressed_by_a_method_that_nobody_has_named() -> None:
    """As libvirt has it from 11.3 on; it meant xbzrle before, which is no way for parallel connections."""
    with pytest.raises(errors.InvalidArgument, match="No compression algorithm selected for parallel migration"):
        parameters.check_combination(Options(flags=F.LIVE | F.PARALLEL | F.COMPRESSED))
    parameters.check_combination(Options(flags=F.LIVE | F.PARALLEL | F.COMPRESSED, compression=("zlib",)))
    parameters.check_combination(Options(flags=F.LIVE | F.COMPRESSED))


def test_a_bandwidth_for_the_switchover_stays_at_the_source() -> None:
    asked = parameters.from_typed([types.TypedParam("bandwidth.avail.switchover", (4, 700))], 0)
    assert asked.avail_switchover_bandwidth == 700
    parameters.check_combination(asked)
    assert asked.for_destination().to_typed() == []
    with pytest.raises(errors.InvalidArgument, match="bandwidth must be less than 8796093022208"):
        parameters.check_combination(Options(avail_switchover_bandwidth=2**43))


def test_parameters_that_nobody_knows_are_refused_by_name() -> None:
    with pytest.raises(errors.ArgumentUnsupported, match="parameter 'speed' not supported"):
        parameters.from_typed([types.TypedParam("speed", (4, 4))], 0)


def test_a_parameter_of_the_wrong_type_is_invalid() -> None:
    with pytest.raises(errors.InvalidArgument, match="bandwidth"):
        parameters.from_typed([types.TypedParam("bandwidth", (7, "fast"))], 0)
