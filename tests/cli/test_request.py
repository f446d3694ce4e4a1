"""Options of ``culvert migrate`` in the protocol's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.cli.request import Request
from culvert.protocol import types
from culvert.protocol.constants_migrate import MigrateFlag
from culvert.protocol.types import TypedParam, TypedParamType
from culvert.xdr.struct import decode, encode

TO = "qemu+tcp://b/system"
USUAL = MigrateFlag.PEER2PEER | MigrateFlag.TUNNELLED | MigrateFlag.LIVE


@pytest.mark.parametrize(
    ("request_", "flags"),
    [
        (Request(TO), USUAL),
        (Request(TO, live=False), USUAL & ~MigrateFlag.LIVE),
        (Request(TO, persistent=True), USUAL | MigrateFlag.PERSIST_DEST),
        (Request(TO, undefinesource=True), USUAL | MigrateFlag.UNDEFINE_SOURCE),
        (Request(TO, suspend=True), USUAL | MigrateFlag.PAUSED),
        (Request(TO, unsafe=True), USUAL | MigrateFlag.UNSAFE),
        (Request(TO, abort_on_error=True), USUAL | MigrateFlag.ABORT_ON_ERROR),
        (Request(TO, postcopy=True, auto_converge=True), USUAL | MigrateFlag.POSTCOPY | MigrateFlag.AUTO_CONVERGE),
        (Request(TO, compressed=True), USUAL | MigrateFlag.COMPRESSED),
        (
            Request(TO, offline=True, persistent=True),
            MigrateFlag.PEER2PEER | MigrateFlag.OFFLINE | MigrateFlag.PERSIST_DEST,
        ),
    ],
)
def test_flags(request_: Request, flags: MigrateFlag) -> None:
    assert request_.flags == flags


def test_only_what_was_typed_is_sent() -> None:
    assert Request(TO).params == []
    assert Request(TO, dname="h", xml="<domain/>", persistent_xml="<d/>", bandwidth=5).params == [
        TypedParam("destination_name", (TypedParamType.STRING, "h")),
        TypedParam("destination_xml", (TypedParamType.STRING, "<domain/>")),
        TypedParam("persistent_xml", (TypedParamType.STRING, "<d/>")),
        TypedParam("bandwidth", (TypedParamType.ULLONG, 5)),
    ]
    assert Request(TO, postcopy_bandwidth=2, auto_converge_initial=30, comp_methods=("zstd",)).params == [
        TypedParam("bandwidth.postcopy", (TypedParamType.ULLONG, 2)),
        TypedParam("auto_converge.initial", (TypedParamType.INT, 30)),
        TypedParam("compression", (TypedParamType.STRING, "zstd")),
    ]


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (Request(TO, offline=True), "--offline"),
        (Request(TO, persistent_xml="<d/>"), "--persistent-xml needs --persistent"),
        (Request(TO, timeout_suspend=True), "--timeout-suspend needs --timeout"),
        (Request(TO, postcopy=True, timeout_postcopy=True), "--timeout-postcopy needs --timeout"),
        (Request(TO, timeout=1, timeout_postcopy=True), "--timeout-postcopy needs --postcopy"),
        (Request(TO, timeout=1, timeout_postcopy=True, timeout_suspend=True), "take one"),
        (Request(TO, postcopy_after_precopy=True), "--postcopy-after-precopy needs --postcopy"),
    ],
)
def test_what_cannot_be_meant_is_said(request_: Request, problem: str) -> None:
    assert problem in str(request_.problem())


def test_a_usual_request_has_no_problem() -> None:
    assert Request(TO, persistent=True, persistent_xml="<d/>", timeout=5, timeout_suspend=True).problem() is None


@given(st.builds(Request, destination=st.just(TO)))
def test_every_request_travels(request_: Request) -> None:
    call = request_.call(types.Domain("g", bytes(16), 1))
    assert decode(type(call), encode(call)) == call
    assert call.dconnuri == TO
    assert call.flags & MigrateFlag.PEER2PEER
