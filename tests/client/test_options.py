"""Options of a migration in the protocol's words, and in the destination's URI."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.client.options import MigrateOptions
from culvert.ground import uri as uris
from culvert.protocol import types
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.protocol.types import TypedParam, TypedParamType
from culvert.xdr.struct import decode, encode

TO = "qemu+tcp://b/system"
USUAL = MigrateFlag.PEER2PEER | MigrateFlag.TUNNELLED | MigrateFlag.LIVE


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        (MigrateOptions(), USUAL),
        (MigrateOptions(live=False), USUAL & ~MigrateFlag.LIVE),
        (MigrateOptions(persistent=True), USUAL | MigrateFlag.PERSIST_DEST),
        (MigrateOptions(undefinesource=True), USUAL | MigrateFlag.UNDEFINE_SOURCE),
        (MigrateOptions(suspend=True), USUAL | MigrateFlag.PAUSED),
        (MigrateOptions(unsafe=True), USUAL | MigrateFlag.UNSAFE),
        (MigrateOptions(abort_on_error=True), USUAL | MigrateFlag.ABORT_ON_ERROR),
        (MigrateOptions(postcopy=True, auto_converge=True), USUAL | MigrateFlag.POSTCOPY | MigrateFlag.AUTO_CONVERGE),
        (MigrateOptions(compressed=True), USUAL | MigrateFlag.COMPRESSED),
        (
            MigrateOptions(offline=True, persistent=True),
            MigrateFlag.PEER2PEER | MigrateFlag.OFFLINE | MigrateFlag.PERSIST_DEST,
        ),
    ],
)
def test_flags(options: MigrateOptions, flags: MigrateFlag) -> None:
    assert options.flags == flags


def test_only_what_was_typed_is_sent() -> None:
    assert MigrateOptions().params == []
    assert MigrateOptions(dname="h", xml="<domain/>", persistent_xml="<d/>", bandwidth=5).params == [
        TypedParam("destination_name", (TypedParamType.STRING, "h")),
        TypedParam("destination_xml", (TypedParamType.STRING, "<domain/>")),
        TypedParam("persistent_xml", (TypedParamType.STRING, "<d/>")),
        TypedParam("bandwidth", (TypedParamType.ULLONG, 5)),
    ]
    assert MigrateOptions(postcopy_bandwidth=2, auto_converge_initial=30, comp_methods=("zstd",)).params == [
        TypedParam("bandwidth.postcopy", (TypedParamType.ULLONG, 2)),
        TypedParam("auto_converge.initial", (TypedParamType.INT, 30)),
        TypedParam("compression", (TypedParamType.STRING, "zstd")),
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (MigrateOptions(offline=True), "offline"),
        (MigrateOptions(persistent_xml="<d/>"), "persistent_xml needs persistent"),
        (MigrateOptions(timeout=0), "timeout is 0 s"),
        (MigrateOptions(timeout=-1), "timeout is -1 s"),
        (MigrateOptions(timeout=math.nan), "timeout is nan s"),
        (MigrateOptions(timeout_suspend=True), "timeout_suspend needs timeout"),
        (MigrateOptions(postcopy=True, timeout_postcopy=True), "timeout_postcopy needs timeout"),
        (MigrateOptions(timeout=1, timeout_postcopy=True), "timeout_postcopy needs postcopy"),
        (MigrateOptions(timeout=1, timeout_postcopy=True, timeout_suspend=True), "take one"),
        (MigrateOptions(postcopy_after_precopy=True), "postcopy_after_precopy needs postcopy"),
    ],
)
def test_what_cannot_be_meant_is_said(options: MigrateOptions, problem: str) -> None:
    assert problem in str(options.problem())


def test_a_problem_is_spelled_as_its_reader_knows_it() -> None:
    told = MigrateOptions(timeout_suspend=True).problem(lambda name: f"<{name}>")
    assert told == "<timeout_suspend> needs <timeout>"


@pytest.mark.parametrize(
    ("options", "uri"),
    [
        (MigrateOptions(), "qemu+tcp://b:1/system?route=pump"),
        (MigrateOptions(route="direct", auto=False), "qemu+tcp://b:1/system?route=direct&auto=off"),
        (MigrateOptions(compression="on", auto=True), "qemu+tcp://b:1/system?route=pump&compression=on&auto=on"),
    ],
)
def test_words_of_the_destination_uri(options: MigrateOptions, uri: str) -> None:
    assert str(options.toward(uris.parse("qemu+tcp://b:1/system?route=pump"))) == uri


def test_a_usual_optionshas_no_problem() -> None:
    assert MigrateOptions(persistent=True, persistent_xml="<d/>", timeout=5, timeout_suspend=True).problem() is None


@given(st.builds(MigrateOptions))
def test_every_optionstravels(options: MigrateOptions) -> None:
    call = options.call(types.Domain("g", bytes(16), 1), TO)
    assert decode(type(call), encode(call)) == call
    assert call.dconnuri == TO
    assert call.flags & MigrateFlag.PEER2PEER
