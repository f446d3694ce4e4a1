"""Which firmware a guest is given: what libvirt 9.0 has chosen with the package ovmf of Debian 12 (2022.11)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from culvert.drivers.qemu.abilities.firmware import Firmware, installed, parse, settle
from culvert.ground import errors
from tests.domain import ovmf
from tests.domain.test_firmware import FEATURES, PFLASH, SMM, defined

PLACE = "/usr/share/OVMF/OVMF"


def wish(**features: str) -> str:
    told = "".join(f"<feature name='{name.replace('_', '-')}' enabled='{on}'/>" for name, on in features.items())
    return f"<firmware>{told}</firmware>"


# Machine, what the definition says of its firmware → image, template, whether its flash is secure.
CHOSEN: list[tuple[str, str, tuple[str, str, bool | None]]] = [
    ("q35", "", ("CODE_4M.ms", "VARS_4M.ms", True)),
    ("pc", "", ("CODE_4M", "VARS_4M", None)),
    ("q35", wish(secure_boot="no"), ("CODE_4M", "VARS_4M", None)),
    ("q35", wish(secure_boot="yes", enrolled_keys="no"), ("CODE_4M.secboot", "VARS_4M", True)),
    ("q35", wish(enrolled_keys="yes"), ("CODE_4M.ms", "VARS_4M.ms", True)),
    ("q35", "<loader secure='yes'/>", ("CODE_4M.ms", "VARS_4M.ms", True)),
]


@pytest.mark.parametrize(("machine", "inner", "chosen"), CHOSEN)
def test_is_the_one_that_libvirt_chooses(machine: str, inner: str, chosen: tuple[str, str, bool | None]) -> None:
    started = ovmf.started(defined(inner, kind="efi", machine=machine))
    loader, nvram, features = started.os.loader, started.os.nvram, started.features
    code, variables, secure = chosen
    assert started.os.firmware is None
    assert loader is not None
    assert nvram is not None
    assert (loader.path, loader.type, loader.readonly) == (f"{PLACE}_{code}.fd", "pflash", True)
    assert (nvram.template, nvram.path) == (f"{PLACE}_{variables}.fd", f"{ovmf.VARIABLES}/g_VARS.fd")
    assert loader.secure is secure
    assert features is not None
    assert (features.smm is not None) == bool(secure)


@pytest.mark.parametrize(
    ("inner", "kind", "features"),
    [
        ("", "bios", FEATURES),
        ("<loader stateless='yes'/>", "efi", FEATURES),
        ("", "efi", f"{FEATURES}<pm><suspend-to-disk enabled='yes'/></pm>"),
    ],
)
def test_there_is_none(inner: str, kind: str, features: str) -> None:
    with pytest.raises(errors.OperationFailed, match=f"Unable to find any firmware to satisfy '{kind}'"):
        settle(defined(inner, kind=kind, features=features), ovmf.INSTALLED, kept=False)


def test_a_guest_without_smm_is_given_none_that_needs_it() -> None:
    definition = defined("", kind="efi", features="<features><acpi/><smm state='off'/></features>")
    with pytest.raises(errors.OperationInvalid, match="/domain/features/smm"):
        settle(definition, ovmf.INSTALLED, kept=False)


def test_an_image_given_by_hand_has_the_template_that_goes_with_it() -> None:
    secure = f"<loader readonly='yes' secure='yes' type='pflash'>{PLACE}_CODE_4M.secboot.fd</loader>"
    definition = defined(secure, features=SMM)
    nvram = settle(definition, ovmf.INSTALLED, kept=False).os.nvram
    assert nvram is not None
    assert nvram.template == f"{PLACE}_VARS_4M.fd"
    assert settle(definition, ovmf.INSTALLED, kept=True) == definition, "variables that are there need none"
    unknown = defined(PFLASH.replace("OVMF_CODE_4M", "other"))
    assert settle(unknown, ovmf.INSTALLED, kept=False) == unknown


def described(path: str = "/code.fd", **changes: object) -> str:
    flash = {
        "device": "flash",
        "executable": {"filename": path, "format": "raw"},
        "nvram-template": {"filename": "/vars.fd", "format": "raw"},
    }
    told = {
        "description": "for a test",
        "interface-types": ["uefi"],
        "mapping": flash,
        "targets": [
            {"architecture": "x86_64", "machines": ["pc-q35-*"]},
            {"architecture": "arm", "machines": ["v*"]},
        ],
        "features": ["acpi-s3", "nobody-knows-this"],
        "tags": [],
    }
    return json.dumps(told | changes)


def test_a_description() -> None:
    told = parse(described())
    assert (told.path, told.template, told.mode) == ("/code.fd", "/vars.fd", "split")
    assert told.is_for("pc-q35-7.2")
    assert not told.is_for("pc-i440fx-7.2")
    assert not told.is_for("virt-7.2")
    rom = parse(described(mapping={"device": "memory", "filename": "/rom.fd"}))
    assert (rom.device, rom.path, rom.template) == ("memory", "/rom.fd", "")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"mapping": {"device": "flash"}}', "null", described(targets=3)])
def test_no_description(text: str) -> None:
    with pytest.raises(ValueError, match="it is no description"):
        parse(text)


def test_later_folders_count_for_more_and_names_say_who_is_asked_first(tmp_path: Path) -> None:
    package, admin = tmp_path / "usr", tmp_path / "etc"
    package.mkdir()
    admin.mkdir()
    for name in ("60-plain.json", "40-secure.json", "50-hidden.json", "45-broken.json", ".swap"):
        (package / name).write_text(described(f"/{name}"))
    (package / "45-broken.json").write_text("{")
    (admin / "60-plain.json").write_text(described("/etc"))
    (admin / "50-hidden.json").write_text("")
    (admin / "10-first.json").write_text(described("/first"))

    def paths(found: tuple[Firmware, ...]) -> list[str]:
        return [one.path for one in found]

    assert paths(installed((package, admin))) == ["/first", "/40-secure.json", "/etc"]
    assert paths(installed((tmp_path / "nothing",))) == []


def test_stateless_firmware_and_a_rom() -> None:
    stateless = Firmware(
        interfaces=frozenset({"uefi"}), device="flash", path="/one.fd", mode="stateless", machines=("pc-*",)
    )
    found = settle(defined("<loader stateless='yes'/>", kind="efi"), [*ovmf.INSTALLED, stateless], kept=False)
    assert found.os.loader is not None
    assert found.os.loader.path == "/one.fd"
    assert found.os.nvram is None
    rom = Firmware(interfaces=frozenset({"bios"}), device="memory", path="/bios.bin", machines=("pc-*",))
    found = settle(defined("", kind="bios"), [*ovmf.INSTALLED, rom], kept=False)
    assert found.os.loader is not None
    assert (found.os.loader.type, found.os.loader.path) == ("rom", "/bios.bin")
