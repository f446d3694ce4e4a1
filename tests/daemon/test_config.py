"""The configuration: defaults, refusals by name, and a sample that cannot differ from the code."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from culvert.daemon import config
from culvert.ground import errors


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    assert config.load(None) == config.Config()
    assert config.load(tmp_path / "absent.toml") == config.Config()


def test_what_is_rendered_is_read_again(tmp_path: Path) -> None:
    changed = dataclasses.replace(
        config.Config(),
        daemon=config.DaemonSection(listen=["tcp://127.0.0.1:1"], allow_clear_text=True, hostname='a"b\\'),
        limits=config.LimitsSection(max_clients=7),
    )
    path = tmp_path / "culvertd.toml"
    path.write_text(config.render(changed, commented=False))
    assert config.load(path) == changed


def test_the_commented_sample_says_nothing_but_shows_every_key() -> None:
    text = config.render(config.Config(), commented=True)
    assert config.from_tables(tomllib.loads(text), "sample") == config.Config()
    for section in dataclasses.fields(config.Config):
        for key in dataclasses.fields(getattr(config.Config(), section.name)):
            assert f"#{key.name} = " in text


def test_the_packaged_sample_is_this_one() -> None:
    sample = Path(__file__).parents[2] / "packaging" / "culvertd.toml"
    assert sample.read_text() == config.render(config.Config(), commented=True)


REFUSED = [
    ("[deamon]\n", r"\[deamon\]"),
    ("listen = []\n", r"\[listen\]"),
    ("[daemon]\nlisten_on = []\n", "listen_on"),
    ("[daemon]\nlisten = 'tcp://x'\n", "listen is 'tcp://x'"),
    ("[daemon]\nlisten = [1]\n", "list of strings"),
    ("[daemon]\nlog_level = 'loud'\n", "loud"),
    ("[tls]\nmin_version = '1.1'\n", r"min_version is '1\.1', not one of 1\.2, 1\.3"),
    ("[tls]\nallowed_clients = 'x'\n", "allowed_clients"),
    ("[tls]\nhandshake_seconds = 0\n", "handshake_seconds is 0"),
    ("[limits]\nmax_clients = 0\n", "max_clients is 0"),
    ("[limits]\nmax_clients = true\n", "max_clients"),
    ("[limits]\nmax_packet = 33554433\n", "max_packet"),
    ("not toml", "cannot be read"),
]


@pytest.mark.parametrize(("text", "names"), REFUSED)
def test_what_is_wrong_is_refused_by_its_name(tmp_path: Path, text: str, names: str) -> None:
    path = tmp_path / "culvertd.toml"
    path.write_text(text)
    with pytest.raises(errors.InvalidArgument, match=names) as caught:
        config.load(path)
    assert str(path) in str(caught.value)


def test_every_key_is_used() -> None:
    """A key that nothing reads would be a promise to the operator that nobody keeps."""
    sources = "\n".join(
        path.read_text() for path in (Path(config.__file__).parent).rglob("*.py") if path.name != "config.py"
    )
    for section in dataclasses.fields(config.Config):
        for key in dataclasses.fields(getattr(config.Config(), section.name)):
            assert f".{key.name}" in sources, f"[{section.name}] {key.name}"
