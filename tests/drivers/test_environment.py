"""What a QEMU is told by its environment."""

from __future__ import annotations

from pathlib import Path

from culvert.drivers.qemu import environment

INHERITED = {
    "PATH": "/bin",
    "HOME": "/root",
    "LANG": "de_DE.UTF-8",
    "LC_ALL": "de_DE.UTF-8",
    "NOTIFY_SOCKET": "/run/systemd/notify",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "XDG_CONFIG_HOME": "/root/.config",
    "TMPDIR": "/var/tmp",
}
FOLDER = Path("/run/culvert/qemu/domain-1-g")


def test_of_root_it_lives_in_its_own_folder() -> None:
    assert environment.of_qemu(INHERITED, uid=0, folder=FOLDER) == {
        "LC_ALL": "C",
        "PATH": "/bin",
        "TMPDIR": "/var/tmp",
        "HOME": str(FOLDER),
        "XDG_DATA_HOME": f"{FOLDER}/.local/share",
        "XDG_CACHE_HOME": f"{FOLDER}/.cache",
        "XDG_CONFIG_HOME": f"{FOLDER}/.config",
    }


def test_of_a_user_it_has_the_users_home() -> None:
    made = environment.of_qemu(INHERITED, uid=1000, folder=FOLDER)
    assert made == {"LC_ALL": "C", "PATH": "/bin", "TMPDIR": "/var/tmp", "HOME": "/root"}


def test_a_test_can_have_more_passed_on() -> None:
    inherited = {environment.VARIABLE: "A B", "A": "1"}
    assert environment.of_qemu(inherited, uid=1000, folder=FOLDER) == {"LC_ALL": "C", "A": "1"}
