"""The file with a firmware's variables: made, kept, taken back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from culvert.domain.definition import DomainDef
from culvert.domain.loader import Loader, Nvram
from culvert.drivers.qemu import belongings, nvram
from culvert.drivers.qemu.state.layout import Layout
from culvert.ground import errors
from tests.domain.test_firmware import defined


def with_files(tmp_path: Path, *, template: bool = True) -> DomainDef:
    """A definition whose image and template are there."""
    (tmp_path / "code.fd").write_bytes(b"code")
    (tmp_path / "template.fd").write_bytes(b"fresh")
    plain = defined("")
    loader = Loader(readonly=True, type="pflash", path=str(tmp_path / "code.fd"))
    told = Nvram(template=str(tmp_path / "template.fd") if template else None, text=str(tmp_path / "a" / "own.fd"))
    return replace(plain, os=replace(plain.os, loader=loader, nvram=told))


def test_is_made_once_and_then_kept(tmp_path: Path) -> None:
    definition = with_files(tmp_path)
    own = tmp_path / "a" / "own.fd"
    assert nvram.to_make(definition) == {belongings.NVRAM: str(own)}
    nvram.make(definition, reset=False)
    assert own.read_bytes() == b"fresh"
    assert own.stat().st_mode & 0o777 == 0o600
    own.write_bytes(b"mine")
    assert nvram.to_make(definition) == {}
    nvram.make(definition, reset=False)
    assert own.read_bytes() == b"mine"
    nvram.make(definition, reset=True)
    assert own.read_bytes() == b"fresh"


def test_is_taken_back_unless_the_guest_has_run(tmp_path: Path) -> None:
    definition = with_files(tmp_path)
    annotations = dict(nvram.to_make(definition))
    nvram.make(definition, reset=False)
    kept = dict(annotations)
    belongings.keep(kept)
    belongings.take_back(kept)
    assert (tmp_path / "a" / "own.fd").exists()
    belongings.take_back(annotations)
    belongings.take_back(annotations)
    assert not (tmp_path / "a" / "own.fd").exists()


def test_there_is_nothing_to_make_it_from(tmp_path: Path) -> None:
    with pytest.raises(errors.OperationFailed, match="master var store"):
        nvram.make(with_files(tmp_path, template=False), reset=False)
    definition = with_files(tmp_path)
    (tmp_path / "template.fd").unlink()
    with pytest.raises(errors.SystemCallError, match=r"template\.fd"):
        nvram.make(definition, reset=False)


def test_an_image_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    definition, layout = with_files(tmp_path), Layout.below(tmp_path)
    assert nvram.settle(definition, layout, reset=False).os == definition.os
    (tmp_path / "code.fd").unlink()
    with pytest.raises(errors.ConfigUnsupported, match=r"/domain/os/loader: there is no firmware '.*code\.fd' here"):
        nvram.settle(definition, layout, reset=False)


def test_goes_by_the_name_of_its_domain(tmp_path: Path) -> None:
    layout = Layout.below(tmp_path)
    layout.nvram.mkdir(parents=True)
    (layout.nvram / "g_VARS.fd").write_bytes(b"mine")
    wished = defined("", kind="efi")
    assert nvram.kept_for(wished, layout) == layout.nvram / "g_VARS.fd"
    assert nvram.kept_for(defined(""), layout) is None
    nvram.renamed(wished, "h", layout)
    assert (layout.nvram / "h_VARS.fd").read_bytes() == b"mine"
    nvram.renamed(wished, "h", layout)
    chosen = with_files(tmp_path)
    nvram.make(chosen, reset=False)
    nvram.renamed(chosen, "h", layout)
    assert nvram.kept_for(chosen, layout) == tmp_path / "a" / "own.fd"
