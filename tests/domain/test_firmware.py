"""A guest's firmware in its definition: as libvirt 9.0 completes it, refuses it, and sends it to another host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from culvert.domain import abi, firmware, validate
from culvert.domain.binding import write
from culvert.domain.defaults import complete
from culvert.domain.definition import DomainDef
from culvert.domain.format import format as xml_format
from culvert.domain.parse import parse
from culvert.domain.xml import render
from culvert.ground import errors
from tests.domain import golden, ovmf

CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
PFLASH = f"<loader readonly='yes' type='pflash'>{CODE}</loader>"
FEATURES = "<features><acpi/></features>"
SMM = "<features><acpi/><smm state='on'/></features>"


def defined(inner: str, *, kind: str = "", machine: str = "q35", features: str = FEATURES) -> DomainDef:
    attribute = f" firmware='{kind}'" if kind else ""
    os = f"<os{attribute}><type arch='x86_64' machine='{machine}'>hvm</type>{inner}</os>"
    text = f"<domain type='qemu'><name>g</name><memory>65536</memory><vcpu>1</vcpu>{os}{features}</domain>"
    definition = complete(parse(text), golden.FACTS)
    validate.check(definition)
    return definition


def shown(definition: DomainDef) -> list[str]:
    """The lines of ``<os>``, without its type and what it boots from."""
    lines = render(write(definition.os, "os")).splitlines()
    return [line.strip() for line in lines if "<type" not in line and "<boot " not in line][:-1]


# What is written → what libvirt 9.0 shows of it (virsh dumpxml --inactive).
SHOWN: list[tuple[str, str, list[str]]] = [
    ("efi", "", ["<os firmware='efi'>"]),
    ("", "", ["<os>"]),
    ("efi", "<loader/><nvram/>", ["<os firmware='efi'>"]),
    (
        "efi",
        "<firmware><feature name='secure-boot' enabled='yes'/>"
        "<feature enabled='no' name='enrolled-keys'/></firmware>",
        [
            "<os firmware='efi'>",
            "<firmware>",
            "<feature enabled='no' name='enrolled-keys'/>",
            "<feature enabled='yes' name='secure-boot'/>",
            "</firmware>",
        ],
    ),
    (
        "efi",
        "<firmware><feature name='enrolled-keys' enabled='yes'/></firmware>",
        [
            "<os firmware='efi'>",
            "<firmware>",
            "<feature enabled='yes' name='enrolled-keys'/>",
            "<feature enabled='yes' name='secure-boot'/>",
            "</firmware>",
        ],
    ),
    ("efi", "<nvram>/srv/own.fd</nvram>", ["<os firmware='efi'>", "<nvram>/srv/own.fd</nvram>"]),
    ("", PFLASH, ["<os>", PFLASH, "<nvram>/var/lib/libvirt/qemu/nvram/g_VARS.fd</nvram>"]),
    (
        "",
        f"{PFLASH}<nvram template='/t.fd' type='file'><source file='/srv/own.fd'/></nvram>",
        ["<os>", PFLASH, "<nvram template='/t.fd' type='file'>", "<source file='/srv/own.fd'/>", "</nvram>"],
    ),
    ("", f"<loader>{CODE}</loader>", ["<os>", f"<loader type='rom'>{CODE}</loader>"]),
    ("", f"<loader type='pflash'>{CODE}</loader>", ["<os>", f"<loader type='pflash'>{CODE}</loader>"]),
    (
        "",
        f"<loader readonly='yes' type='pflash' stateless='yes'>{CODE}</loader>",
        ["<os>", f"<loader readonly='yes' type='pflash' stateless='yes'>{CODE}</loader>"],
    ),
    # As later libvirts write it, who name the format too.
    (
        "",
        f"<loader readonly='yes' type='pflash' format='raw'>{CODE}</loader>"
        "<nvram template='/t.fd' templateFormat='raw' format='raw'>/srv/own.fd</nvram>",
        ["<os>", PFLASH, "<nvram template='/t.fd'>/srv/own.fd</nvram>"],
    ),
]


@pytest.mark.parametrize(("kind", "inner", "lines"), SHOWN)
def test_is_shown_as_libvirt_shows_it(kind: str, inner: str, lines: list[str]) -> None:
    assert shown(defined(inner, kind=kind)) == lines


# libvirt 9.0's code of the refusal.
REFUSED: list[tuple[str, str, str, str, type[errors.RequestError]]] = [
    ("", "<firmware><feature enabled='no' name='secure-boot'/></firmware>", "q35", FEATURES, errors.XMLDetail),
    ("", "<loader/>", "q35", FEATURES, errors.XMLDetail),
    ("", "<nvram>/x.fd</nvram>", "q35", FEATURES, errors.XMLDetail),
    ("efi", "<nvram template='/t.fd'/>", "q35", FEATURES, errors.XMLDetail),
    ("efi", "<loader readonly='yes'/>", "q35", FEATURES, errors.XMLDetail),
    ("efi", "<loader type='pflash'/>", "q35", FEATURES, errors.XMLDetail),
    ("efi", "<loader secure='no'/>", "q35", FEATURES, errors.XMLDetail),
    ("efi", f"<loader>{CODE}</loader>", "q35", FEATURES, errors.XMLDetail),
    ("bios", "<nvram>/x.fd</nvram>", "q35", FEATURES, errors.XMLDetail),
    ("efi", "<loader stateless='yes'/><nvram>/x.fd</nvram>", "q35", FEATURES, errors.XMLDetail),
    ("", f"<loader stateless='no'>{CODE}</loader>", "q35", FEATURES, errors.XMLDetail),
    ("efi", "", "q35", "<features/>", errors.ConfigUnsupported),
    ("", PFLASH, "q35", "<features/>", errors.ConfigUnsupported),
    ("", f"<loader readonly='yes' secure='yes' type='pflash'>{CODE}</loader>", "pc", SMM, errors.ConfigUnsupported),
    (
        *("", f"<loader readonly='yes' secure='yes' type='pflash'>{CODE}</loader>", "q35", FEATURES),
        errors.ConfigUnsupported,
    ),
    ("", "<bios useserial='yes'/>", "q35", FEATURES, errors.XMLError),
    ("", "<bios rebootTimeout='65536'/>", "q35", FEATURES, errors.ConfigUnsupported),
    (
        "efi",
        "<firmware><feature name='enrolled-keys' enabled='yes'/>"
        "<feature name='secure-boot' enabled='no'/></firmware>",
        *("q35", FEATURES, errors.XMLDetail),
    ),
]


@pytest.mark.parametrize(("kind", "inner", "machine", "features", "refusal"), REFUSED)
def test_is_refused_where_libvirt_refuses_it(
    kind: str, inner: str, machine: str, features: str, refusal: type[errors.RequestError]
) -> None:
    with pytest.raises(refusal):
        defined(inner, kind=kind, machine=machine, features=features)


def test_what_a_later_libvirt_has_found_is_taken_with_its_wish() -> None:
    """Since 9.2 the inactive XML has both, and so has a guest's that is taken to another host by hand."""
    found = defined(f"<loader readonly='yes' type='pflash'>{CODE}</loader><nvram>/srv/own.fd</nvram>", kind="efi")
    started = ovmf.started(found)
    assert started.os.firmware is None
    assert started.os.loader is not None
    assert started.os.loader.path == CODE
    assert started.os.nvram is not None
    assert started.os.nvram.path == "/srv/own.fd"


def test_a_place_of_the_daemons_own_does_not_travel() -> None:
    folder = "/var/lib/culvert/qemu/nvram"
    os = replace(defined(PFLASH).os, nvram=None)
    ours = firmware.complete(os, "g", folder)
    theirs = firmware.complete(os, "g", ovmf.VARIABLES)
    assert firmware.unplaced(ours).nvram is firmware.unplaced(theirs).nvram is None
    assert firmware.complete(firmware.at_home(theirs, folder), "g", folder) == ours
    assert firmware.at_home(ours, folder) == ours, "also one by the name of another domain, which it had once"
    chosen = defined(f"{PFLASH}<nvram template='/t.fd'>/srv/own.fd</nvram>").os
    assert firmware.at_home(chosen, folder) == chosen == firmware.unplaced(chosen)


def test_the_wish_does_not_travel_with_what_was_found() -> None:
    wished = defined("<firmware><feature name='secure-boot' enabled='no'/></firmware>", kind="efi")
    assert "<feature " not in xml_format(ovmf.started(wished), migratable=True)
    assert "<feature " in xml_format(wished, migratable=True)


def test_which_image_it_is_may_differ_and_not_whether_there_is_one() -> None:
    here = defined(PFLASH)
    abi.check(here, defined("<loader readonly='yes' type='pflash'>/other.fd</loader><nvram>/v.fd</nvram>"))
    abi.check(here, defined("", kind="efi"))
    for other in (defined(""), defined(f"<loader>{CODE}</loader>")):
        with pytest.raises(errors.ConfigUnsupported, match="/domain/os/loader"):
            abi.check(here, other)
