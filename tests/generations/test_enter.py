"""What a command in another generation is begun with."""

from __future__ import annotations

from pathlib import Path

from generations import enter


def test_the_machine_itself_needs_no_words() -> None:
    assert enter.words(None, [Path("/tmp/a")]) == ()


def test_shared_folders_stand_before_the_command() -> None:
    words = enter.words(Path("/roots/13"), [Path("/tmp/a"), Path("/tmp/b")])
    assert words[0] == "unshare"
    assert words[-4:] == ("/roots/13", "/tmp/a", "/tmp/b", "--")


def test_nothing_of_make_or_of_a_virtual_environment_goes_along() -> None:
    given = {
        "MAKEFLAGS": "-j2",
        "ARGS": "--fast",
        "VIRTUAL_ENV": "/venv",
        "PATH": "/venv/bin",
        "PYTHONPATH": "/x",
        "HOME": "/home/me",
        "PIP_CERT": "/c",
        "https_proxy": "http://proxy",
        "CULVERT_GUEST_KERNEL": "/k",
    }
    kept = {"HOME", "PIP_CERT", "https_proxy", "CULVERT_GUEST_KERNEL"}
    assert set(enter.environment(given)) == {*kept, "LANG", "PATH"}
    assert enter.environment(given)["PATH"] == enter.PATH
