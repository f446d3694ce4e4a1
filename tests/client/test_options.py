"""Options of a migration in the protocol's words, and in the destination's URI."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.client.options import Options
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
        (Options(), USUAL),
        (Options(live=False), USUAL & ~MigrateFlag.LIVE),
        (Options(persistent=True), USUAL | MigrateFlag.PERSIST_DEST),
        (Options(undefinesource=True), USUAL | MigrateFlag.UNDEFINE_SOURCE),
        (Options(suspend=True), USUAL | MigrateFlag.PAUSED),
        (Options(unsafe=True), USUAL | MigrateFlag.UNSAFE),
        (Options(abort_on_error=True), USUAL | MigrateFlag.ABORT_ON_ERROR),
        (Options(postcopy=True, auto_converge=True), USUAL | MigrateFlag.POSTCOPY | MigrateFlag.AUTO_CONVERGE),
        (Options(compressed=True), USUAL | MigrateFlag.COMPRESSED),
        (
            Options(offline=True, persistent=True),
            MigrateFlag.PEER2PEER | MigrateFlag.OFFLINE | MigrateFlag.PERSIST_DEST,
        ),
    ],
)
def test_flags(options: Options, flags: MigrateFlag) -> None:
    assert options.flags == flags


def test_only_what_was_typed_is_sent() -> None:
    assert Options().params == []
    assert Options(dname="h", xml="<domain/>", persistent_xml="<d/>", bandwidth=5).params == [
        TypedParam("destination_name", (TypedParamType.STRING, "h")),
        TypedParam("destination_xml", (TypedParamType.STRING, "<domain/>")),
        TypedParam("persistent_xml", (TypedParamType.STRING, "<d/>")),
        TypedParam("bandwidth", (TypedParamType.ULLONG, 5)),
    ]
    assert Options(postcopy_bandwidth=2, auto_converge_initial=30, comp_methods=("zstd",)).params == [
        TypedParam("bandwidth.postcopy", (TypedParamType.ULLONG, 2)),
        TypedParam("auto_converge.initial", (TypedParamType.INT, 30)),
        TypedParam("compression", (TypedParamType.STRING, "zstd")),
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (Options(offline=True), "offline"),
        (Options(persistent_xml="<d/>"), "persistent_xml needs persistent"),
        (Options(timeout_suspend=True), "timeout_suspend needs timeout"),
        (Options(postcopy=True, timeout_postcopy=True), "timeout_postcopy needs timeout"),
        (Options(timeout=1, timeout_postcopy=True), "timeout_postcopy needs postcopy"),
        (Options(timeout=1, timeout_postcopy=True, timeout_suspend=True), "take one"),
        (Options(postcopy_after_precopy=True), "postcopy_after_precopy needs postcopy"),
    ],
)
def test_what_cannot_be_meant_is_said(options: Options, problem: str) -> None:
    assert problem in str(options.problem())


def test_a_problem_is_spelled_as_its_reader_knows_it() -> None:
    told = Options(timeout_suspend=True).problem(lambda name: f"<{name}>")
    assert told == "<timeout_suspend> needs <timeout>"


@pytest.mark.parametrize(
    ("options", "uri"),
    [
        (Options(), "qemu+tcp://b:1/system?route=pump"),
        (Options(route="direct", auto=False), "qemu+tcp://b:1/system?route=direct&auto=off"),
        (Options(compression="on", auto=True), "qemu+tcp://b:1/system?route=pump&compression=on&auto=on"),
    ],
)
def test_words_of_the_destination_uri(options: Options, uri: str) -> None:
    assert str(options.toward(uris.parse("qemu+tcp://b:1/system?route=pump"))) == uri


def test_a_usual_optionshas_no_problem() -> None:
    assert Options(persistent=True, persistent_xml="<d/>", timeout=5, timeout_suspend=True).problem() is None


@given(st.builds(Options))
def test_every_optionstravels(options: Options) -> None:
    call = options.call(types.Domain("g", bytes(16), 1), TO)
    assert decode(type(call), encode(call)) == call
    assert call.dconnuri == TO
    assert call.flags & MigrateFlag.PEER2PEER
