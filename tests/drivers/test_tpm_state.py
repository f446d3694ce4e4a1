"""What a TPM keeps: where it is, by what it is made, when it goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from culvert.domain.definition import DomainDef
from culvert.drivers.qemu import shared, swtpm, tpm_state
from culvert.drivers.qemu.state.layout import Layout
from culvert.ground import errors
from tests.domain.test_tpm import backend, defined

PROGRAMS = ("swtpm", "swtpm_setup", "swtpm_localca")


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the path, whatever this machine has."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in PROGRAMS:
        (place / name).write_text("")
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(place))


def kept(definition: DomainDef, layout: Layout) -> Path:
    file = tpm_state.folder(definition, layout) / "tpm2-00.permall"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"keys")
    return file


@pytest.mark.parametrize(
    ("told", "wanted", "left", "stays"),
    [
        ("", None, False, False),
        ("persistent_state='yes'", None, False, True),
        ("", False, False, True),
        ("persistent_state='yes'", True, False, False),
        ("persistent_state='yes'", None, True, False),
        ("", None, True, False),
    ],
)
def test_goes_by_the_rules_of_libvirt(
    tmp_path: Path, told: str, wanted: bool | None, left: bool, stays: bool
) -> None:
    layout = Layout.below(tmp_path)
    definition = defined(backend(told))
    file = kept(definition, layout)
    tpm_state.forget(definition, layout, wanted=wanted, left=left)
    assert file.exists() is stays
    assert file.parent.parent.exists() is stays


def test_what_hosts_share_stays_with_the_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "is_shared", lambda path: True)
    layout = Layout.below(tmp_path)
    file = kept(defined(backend()), layout)
    tpm_state.forget(defined(backend()), layout, left=True)
    assert file.exists()


def test_a_domain_without_one_has_nothing_to_forget(tmp_path: Path) -> None:
    layout = Layout.below(tmp_path)
    file = kept(defined(backend()), layout)
    tpm_state.forget(defined(), layout)
    assert file.exists()


def test_command_lines(tmp_path: Path) -> None:
    layout = Layout.below(tmp_path)
    two, one = defined(backend()), defined(backend(model="tpm-tis"))
    place, bin = tpm_state.folder(two, layout), tmp_path / "bin"
    assert place == layout.swtpm / str(two.uuid) / "tpm2"
    assert tpm_state.folder(one, layout) == layout.swtpm / str(one.uuid) / "tpm1.2"
    assert tpm_state.setup_words(two, place, Path("/config")) == [
        *(f"{bin}/swtpm_setup", "--tpm2", "--tpm-state", str(place), "--vmid", f"g:{two.uuid}"),
        *("--config", "/config", "--createek", "--create-ek-cert", "--create-platform-cert", "--lock-nvram"),
        "--not-overwrite",
    ]
    assert "--tpm2" not in tpm_state.setup_words(one, place, Path("/config"))
    banks = defined(backend("", "<active_pcr_banks><sha512/><sha1/></active_pcr_banks>")).devices.tpms[0]
    assert tpm_state.banks_words(banks, place)[-3:] == ["--pcr-banks", "sha1,sha512", "--reconfigure"]
    emulator = swtpm.words(two, layout, tmp_path / "run", 7)
    assert emulator == [
        *(f"{bin}/swtpm", "socket", "--ctrl", "type=unixio,fd=7", "--tpmstate", f"dir={place},mode=0600"),
        *("--pid", f"file={tmp_path}/run/swtpm.pid", "--terminate", "--tpm2"),
    ]
    assert swtpm.words(two, layout, tmp_path, 7, migration="incoming")[-2:] == ["--migration", "incoming"]
    assert "--tpm2" not in swtpm.words(one, layout, tmp_path, 7)


def test_what_this_host_lacks_is_told_by_the_element(tmp_path: Path) -> None:
    tpm_state.check(defined(backend()))
    with pytest.raises(errors.NoSecret, match="no secret with matching uuid '11111111"):
        tpm_state.check(defined(backend("", "<encryption secret='11111111-2222-4333-8444-000000000001'/>")))
    for name in ("swtpm_setup", "swtpm"):
        (tmp_path / "bin" / name).unlink()
        with pytest.raises(errors.ConfigUnsupported, match=f"/domain/devices/tpm/backend: there is no {name} here"):
            tpm_state.check(defined(backend()))
    tpm_state.check(replace(defined()))
