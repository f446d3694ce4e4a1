"""The words by which ssh is run: libvirt's parameters, and nothing that a URI can make a command of."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from culvert.ground import errors, ssh_command, uri
from culvert.ground.uri import ConnectionURI


def words(text: str) -> list[str]:
    return ssh_command.arguments(uri.parse(text), connect_seconds=15)


def script(text: str) -> str:
    """What the other host's ``sh`` runs."""
    shell, option, found = shlex.split(words(text)[-1])
    assert (shell, option) == ("sh", "-c")
    return found


def options(text: str) -> list[str]:
    found = words(text)
    return [found[index + 1] for index, word in enumerate(found) if word == "-o"]


def test_the_least() -> None:
    found = words("qemu+ssh://h/system")
    assert found[:4] == ["ssh", "-T", "-e", "none"]
    assert found[-3:-1] == ["--", "h"]
    assert {"BatchMode=yes", "ConnectTimeout=15"} <= set(options("qemu+ssh://h/system"))
    assert not {"-p", "-l", "-i"} & set(found)


def test_user_and_port() -> None:
    found = words("qemu+ssh://me@h:2222/system?command=/opt/ssh")
    assert found[0] == "/opt/ssh"
    assert found[found.index("-p") + 1] == "2222"
    assert found[found.index("-l") + 1] == "me"


PARAMETERS = [
    ("keyfile=/k/id%20one", 'IdentityFile="/k/id one"'),
    ("keyfile=~/50%25", 'IdentityFile="~/50%%"'),
    ("known_hosts=/k/known", 'UserKnownHostsFile="/k/known"'),
    ("no_verify=1", "StrictHostKeyChecking=no"),
    ("known_hosts_verify=auto", "StrictHostKeyChecking=accept-new"),
    ("known_hosts_verify=ignore", "StrictHostKeyChecking=no"),
]


@pytest.mark.parametrize(("parameter", "option"), PARAMETERS)
def test_parameters(parameter: str, option: str) -> None:
    assert option in options(f"qemu+ssh://h/system?{parameter}")


@pytest.mark.parametrize("parameter", ["no_verify=0", "known_hosts_verify=normal", "no_tty=1", "sshauth=agent"])
def test_parameters_that_change_nothing(parameter: str) -> None:
    assert options(f"qemu+ssh://h/system?{parameter}") == options("qemu+ssh://h/system")


def test_what_is_run_there() -> None:
    found = script("qemu+ssh://h/system")
    assert "virt-ssh-helper qemu:///system" in found
    assert "r=/run;" in found
    assert "n=nc;" in found
    assert 'exec "$n" $q -U "$s"' in found
    assert "XDG_RUNTIME_DIR" in script("qemu+ssh://h/session")
    assert script("qemu+ssh://h/system?proxy=native&socket=/s") == "exec virt-ssh-helper qemu:///system"
    for other in ("socket=/s", "netcat=ncat", "proxy=netcat"):
        assert "virt-ssh-helper" not in script(f"qemu+ssh://h/system?{other}")
    assert "s=/s;" in script("qemu+ssh://h/system?socket=/s&proxy=auto")
    assert "n=ncat;" in script("qemu+ssh://h/system?netcat=ncat")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("qemu+ssh://-oProxyCommand=x/system", "host '-oproxycommand=x'"),
        ("qemu+ssh://h%3Bid/system", "host 'h;id'"),
        ("qemu+ssh://h%20x/system", "host 'h x'"),
        ("qemu+ssh://%24(id)/system", "host"),
        ("qemu+ssh://h%0Ax/system", "host"),
        ("qemu+ssh://-l@h/system", "user '-l'"),
        ("qemu+ssh://a%60id%60@h/system", "user"),
        ("qemu+ssh://h/system?keyfile=/k%22%20x", "keyfile"),
        ("qemu+ssh://h/system?keyfile=/k%0AProxyCommand%20x", "keyfile"),
        ("qemu+ssh://h/system?known_hosts=${HOME}", "known_hosts"),
        ("qemu+ssh://h/system?socket=-x", "socket="),
        ("qemu+ssh://h/system?socket=/a%0Ab", "socket="),
        ("qemu+ssh://h/system?netcat=-e", "netcat="),
        ("qemu+ssh://h/system?proxy=socks", "proxy=socks"),
        ("qemu+ssh://h/system?known_hosts_verify=maybe", "known_hosts_verify=maybe"),
    ],
)
def test_what_would_be_taken_for_something_else_is_refused(text: str, what: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        words(text)
    assert f"{what}" in str(refused.value)
    assert "cannot be used" in str(refused.value)


TEXT = st.text(max_size=12)


@example("0", "", {"netcat": "'"})
@given(
    host=st.text(min_size=1, max_size=12),
    user=TEXT,
    parameters=st.dictionaries(
        st.sampled_from(["keyfile", "known_hosts", "socket", "netcat", "name", "no_verify"]), TEXT
    ),
)
def test_whatever_a_uri_holds_it_stays_one_word(host: str, user: str, parameters: dict[str, str]) -> None:
    """Refused, or where it belongs: behind its option, behind ``--``, or one quoted word of the script."""
    where = ConnectionURI("qemu", "ssh", host=host, user=user, parameters=parameters)
    try:
        found = ssh_command.arguments(where, connect_seconds=15)
    except errors.InvalidArgument:
        return
    assert found[-3:-1] == ["--", host]
    assert not host.startswith("-")
    plain = ssh_command.arguments(ConnectionURI("qemu", "ssh", host="h"), connect_seconds=15)
    more = [word for word in found[:-3] if word not in plain]
    assert all(word in ("-l", user) or "=" in word for word in more)
    assert all("\n" not in word for word in found)
    lexer = shlex.shlex(shlex.split(found[-1])[2], posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    inner = list(lexer)
    for name, value in parameters.items():
        if name == "socket" and value:
            assert f"s={value}" in inner
        if name == "netcat" and value:
            assert f"n={value}" in inner
