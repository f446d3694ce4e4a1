"""``<tpm>`` in a definition: completed, refused and compared as libvirt 9.0 does."""

from __future__ import annotations

import pytest

from culvert.domain import abi, validate
from culvert.domain.binding import write
from culvert.domain.defaults import complete
from culvert.domain.definition import DomainDef
from culvert.domain.parse import parse
from culvert.domain.xml import render
from culvert.ground import errors
from tests.domain import golden


def defined(*tpms: str) -> DomainDef:
    text = f"""<domain type='qemu'><name>g</name><memory>65536</memory><vcpu>1</vcpu>
    <os><type arch='x86_64' machine='q35'>hvm</type></os><devices>{"".join(tpms)}</devices></domain>"""
    definition = complete(parse(text), golden.FACTS)
    validate.check(definition)
    return definition


def backend(attributes: str = "", inner: str = "", *, model: str = "tpm-crb") -> str:
    told = f" model='{model}'" if model else ""
    return f"<tpm{told}><backend type='emulator' {attributes}>{inner}</backend></tpm>"


# What is written → model, and the lines of <backend> that libvirt 9.0 shows.
SHOWN = [
    (backend(), "tpm-crb", ["<backend type='emulator' version='2.0'/>"]),
    (backend(model=""), "tpm-tis", ["<backend type='emulator' version='1.2'/>"]),
    (backend("version='2.0'", model="tpm-tis"), "tpm-tis", ["<backend type='emulator' version='2.0'/>"]),
    (backend("persistent_state='no'"), "tpm-crb", ["<backend type='emulator' version='2.0'/>"]),
    (
        backend("persistent_state='yes'"),
        "tpm-crb",
        ["<backend type='emulator' version='2.0' persistent_state='yes'/>"],
    ),
    (backend("", "<active_pcr_banks/>"), "tpm-crb", ["<backend type='emulator' version='2.0'/>"]),
    (
        backend("", "<active_pcr_banks><sha384/><sha256/></active_pcr_banks>"),
        "tpm-crb",
        [
            "<backend type='emulator' version='2.0'>",
            *("<active_pcr_banks>", "<sha256/>", "<sha384/>", "</active_pcr_banks>"),
            "</backend>",
        ],
    ),
]


@pytest.mark.parametrize(("written", "model", "lines"), SHOWN)
def test_is_shown_as_libvirt_shows_it(written: str, model: str, lines: list[str]) -> None:
    [tpm] = defined(written).devices.tpms
    assert tpm.model == model
    assert [line.strip() for line in render(write(tpm, "tpm")).splitlines()][1:-1] == lines


REFUSED: list[tuple[tuple[str, ...], type[errors.RequestError], str]] = [
    ((backend("version='1.2'"),), errors.ConfigUnsupported, "tpm-crb"),
    ((backend(), backend(model="tpm-tis")), errors.ConfigUnsupported, "one TPM"),
    (
        (backend("version='1.2'", "<active_pcr_banks><sha1/></active_pcr_banks>", model="tpm-tis"),),
        *(errors.XMLError, "active_pcr_banks"),
    ),
    (("<tpm model='tpm-crb'/>",), errors.XMLError, "/domain/devices/tpm/backend is missing"),
    (
        ("<tpm model='tpm-crb'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>",),
        *(errors.ConfigUnsupported, "/domain/devices/tpm/backend/@type: 'passthrough'"),
    ),
    (
        ("<tpm><backend type='external'><source type='unix' mode='connect' path='/x'/></backend></tpm>",),
        *(errors.ConfigUnsupported, "/domain/devices/tpm/backend/@type: 'external'"),
    ),
    ((backend(model="tpm-spapr"),), errors.ConfigUnsupported, "/domain/devices/tpm/@model"),
]


@pytest.mark.parametrize(("written", "refusal", "words"), REFUSED)
def test_is_refused(written: tuple[str, ...], refusal: type[errors.RequestError], words: str) -> None:
    with pytest.raises(refusal, match=words):
        defined(*written)


def test_what_a_guest_sees_of_it_must_be_the_same() -> None:
    abi.check(defined(backend()), defined(backend("persistent_state='yes'")))
    for other in (defined(), defined(backend(model="tpm-tis")), defined(backend("version='2.0'", model="tpm-tis"))):
        with pytest.raises(errors.ConfigUnsupported, match="/domain/devices/tpm"):
            abi.check(defined(backend()), other)
