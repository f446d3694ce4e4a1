"""``culvert pki`` as it is typed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from culvert.cli import pki
from culvert.cli.main import cli
from culvert.cli.pki_folder import read


def run(folder: Path, *args: str) -> Result:
    return CliRunner().invoke(cli, ["pki", "--dir", str(folder), *args])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "pki"
    assert run(path, "init", "--organization", "Example").exit_code == 0
    return path


def test_two_commands_make_two_hosts(folder: Path) -> None:
    made = run(folder, "host", "alpha,10.0.0.1", "beta,beta.example")
    assert made.exit_code == 0
    for name in ("alpha", "beta"):
        assert f"host '{name}': {folder}/hosts/{name}" in made.output
    assert 'client_key = "/etc/culvert/tls/clientkey.pem"' in made.output


def test_a_client_is_told_its_uri(folder: Path) -> None:
    made = run(folder, "client", "admin")
    assert f"qemu+tls://HOST/system?pkipath={folder}/clients/admin" in made.output


def test_show(folder: Path) -> None:
    run(folder, "host", "alpha,10.0.0.1")
    run(folder, "client", "admin")
    run(folder, "revoke", "admin")
    lines = [json.loads(text) for text in run(folder, "show", "--json").output.splitlines()]
    assert [(line["purpose"], line["subject"]) for line in lines] == [
        ("authority", "O=Example,CN=Example CA"),
        ("server", "O=Example,CN=alpha"),
        ("client", "O=Example,CN=alpha"),
        ("client", "O=Example,CN=admin"),
    ]
    assert lines[1]["names"] == ["alpha", "10.0.0.1"]
    assert lines[1]["state"].startswith("valid, 824 days left")
    assert lines[3]["state"].startswith("revoked")
    table = run(folder, "show").output
    assert "O=Example,CN=alpha" in table
    assert "alpha, 10.0.0.1" in table
    single = run(folder, "show", str(folder / "hosts/alpha/servercert.pem"))
    assert len(single.output.splitlines()) == 2


def test_states(folder: Path) -> None:
    run(folder, "host", "alpha", "--days", "100")
    path = folder / "hosts/alpha/servercert.pem"
    now = datetime.now(UTC)
    assert pki.line(path, {}, now + timedelta(days=80)).state == "valid, 19 days left, renew soon"
    assert pki.line(path, {}, now + timedelta(days=101)).state == "expired"
    assert pki.line(path, {}, now - timedelta(days=1)).state == "not valid yet"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["init"], "exists already and is not overwritten"),
        (["host", "alpha"], "'culvert pki renew alpha'"),
        (["host", "no host"], "no host"),
        (["client", "../x"], "cannot be used"),
        (["renew", "nobody"], "no host and no client 'nobody'"),
        (["revoke", "nobody"], "no host and no client 'nobody'"),
        (["show", "/does/not/exist.pem"], "/does/not/exist.pem cannot be read"),
    ],
)
def test_refusals_are_code_1_and_change_nothing(folder: Path, args: list[str], words: str) -> None:
    run(folder, "host", "alpha")
    before = sorted(folder.rglob("*"))
    result = run(folder, *args)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert sorted(folder.rglob("*")) == before


def test_usage(folder: Path, tmp_path: Path) -> None:
    assert run(folder, "renew").exit_code == 2
    assert run(folder, "host").exit_code == 2
    missing = run(tmp_path / "absent", "host", "alpha")
    assert "make one with 'culvert pki init'" in missing.stderr
    assert not (tmp_path / "absent").exists()


def test_renew(folder: Path) -> None:
    run(folder, "host", "alpha", "beta")
    path = folder / "hosts/beta/clientcert.pem"
    old = read(path).serial_number
    assert "SIGHUP" in run(folder, "renew", "--all").output
    assert read(path).serial_number != old
    assert str(folder / "cacert.pem") in run(folder, "renew", "--ca").output


def test_default_folder() -> None:
    home = Path("/home/me")
    assert pki.default_folder({}, 0, home) == Path("/etc/culvert/pki")
    assert pki.default_folder({}, 7, home) == home / ".config/culvert/pki"
    assert pki.default_folder({"XDG_CONFIG_HOME": "/x"}, 7, home) == Path("/x/culvert/pki")
    assert pki.default_folder({"CULVERT_PKI": "/y"}, 0, home) == Path("/y")
