"""What is run to reach another host's daemon through ssh: the words of the command, from a connection URI; pure.

Every word of a URI comes from somewhere else: nothing of it may be read as an option by ssh, nor as a command by a
shell, neither by that of the other host nor by the one that ssh starts for a ``ProxyCommand``. Parameters are those
of libvirt's URIs (docs/uri); what is run at the other end is what libvirt runs (``virNetClientSSHHelperCommand``):
its helper, or netcat where a socket is named, and here Python where there is no netcat.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection

from culvert.ground import errors
from culvert.ground.uri import ConnectionURI

PROXIES = ("auto", "native", "netcat")

# What OpenSSH itself refuses since 9.6, before it hands these on to a shell (ssh.c, valid_hostname, valid_ruser).
_HOST = re.compile(r"[^-\s\x00-\x1f\x7f'`\"$\\;&<>|(){}][^\s\x00-\x1f\x7f'`\"$\\;&<>|(){}]*")
_USER = re.compile(r"[^-\s\x00-\x1f\x7f'`\";&<>|(){}$\\][^\s\x00-\x1f\x7f'`\";&<>|(){}$\\]*")
_PATH = re.compile(r"[^\x00-\x1f\x7f\"\\$]+")  # inside quotes of ssh_config(5)

# known_hosts_verify → ssh_config(5), StrictHostKeyChecking.
_VERIFY = {"normal": "", "auto": "accept-new", "ignore": "no"}

# Joins its own ends with the UNIX socket that it is told, as netcat does.
_RELAY = (
    "import os,socket as k,sys,threading as t;s=k.socket(k.AF_UNIX);s.connect(sys.argv[1]);o=sys.stdout.buffer;"
    't.Thread(target=lambda:(any(s.sendall(d) for d in iter(lambda:os.read(0,65536),b"")),s.shutdown(k.SHUT_WR)),'
    'daemon=True).start();any((o.write(d),o.flush()) is None for d in iter(lambda:s.recv(65536),b""))'
)


def arguments(uri: ConnectionURI, *, connect_seconds: float) -> list[str]:
    """ssh and its words, for ``uri`` of transport ssh. It asks nobody anything.

    Raises ``errors.InvalidArgument`` naming the part of the URI that cannot be used.
    """
    given = uri.parameters
    words = [given.get("command") or "ssh", "-T", "-e", "none"]
    options = ["BatchMode=yes", "LogLevel=ERROR", "ClearAllForwardings=yes"]
    options.append(f"ConnectTimeout={max(1, int(connect_seconds))}")
    if given.get("no_verify", "0") not in ("", "0"):
        options.append("StrictHostKeyChecking=no")
    elif verify := _one_of(uri, "known_hosts_verify", _VERIFY):
        options += [f"StrictHostKeyChecking={_VERIFY[verify]}"] if _VERIFY[verify] else []
    if known := given.get("known_hosts"):
        options.append(f'UserKnownHostsFile="{_path(uri, "known_hosts", known)}"')
    if keyfile := given.get("keyfile"):
        options.append(f'IdentityFile="{_path(uri, "keyfile", keyfile)}"')
    for option in options:
        words += ["-o", option]
    if uri.port:
        words += ["-p", str(uri.port)]
    if uri.user:
        words += ["-l", _fits(uri, "user", uri.user, _USER)]
    return [*words, "--", _fits(uri, "host", uri.host, _HOST), remote_command(uri)]


def remote_command(uri: ConnectionURI) -> str:
    """What the other host's shell is given: one word for ``sh``, whatever that shell is. Raises as ``arguments``."""
    proxy = _one_of(uri, "proxy", PROXIES) or "auto"
    netcat = uri.parameters.get("netcat", "")
    if proxy == "auto" and (netcat or uri.socket_path):
        proxy = "netcat"  # libvirt's helper takes no socket
    helper = f"exec virt-ssh-helper {shlex.quote(uri.open_name)}"
    steps = [_run_directory(uri), 's="$r/culvert/culvert-sock"', 'l="$r/libvirt/libvirt-sock"']
    if uri.socket_path:
        steps = [f"s={_word(uri, 'socket', uri.socket_path)}"]
    elif proxy == "netcat":
        steps.append('if test -S "$l"; then s="$l"; fi')
    else:
        # Whose daemon is meant where both are: libvirt's, as by any other client.
        steps.append(
            f'if test ! -S "$s" || test -S "$l" || test -S "$r/libvirt/virtqemud-sock"; then '
            f'if command -v virt-ssh-helper >/dev/null 2>&1; then {helper}; fi; s="$l"; fi'
        )
    if proxy == "native":
        return _sh(helper)
    steps.append(f"n={_word(uri, 'netcat', netcat or 'nc')}")
    if not netcat:
        steps.append(f'command -v nc >/dev/null 2>&1 || exec python3 -c {shlex.quote(_RELAY)} "$s"')
    # Debian's netcat stays when its input has ended, unless it is told not to.
    steps.append('case "$("$n" -q 2>&1)" in *"requires an argument"*) q=-q0;; *) q=;; esac')
    steps.append('exec "$n" $q -U "$s"')
    return _sh("; ".join(steps))


def _run_directory(uri: ConnectionURI) -> str:
    return 'r="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"' if uri.path == "/session" else "r=/run"


def _sh(script: str) -> str:
    return f"sh -c {shlex.quote(script)}"


def _one_of(uri: ConnectionURI, name: str, words: Collection[str]) -> str:
    value = uri.parameters.get(name, "")
    if value and value not in words:
        raise _unusable(uri, f"{name}={value}", f"it is not one of {', '.join(words)}")
    return value


def _word(uri: ConnectionURI, name: str, value: str) -> str:
    if value.startswith("-") or any(character < " " or character == "\x7f" for character in value):
        raise _unusable(uri, f"{name}={value!r}", "it begins with '-' or has control characters")
    return shlex.quote(value)


def _path(uri: ConnectionURI, name: str, value: str) -> str:
    # "%" is the beginning of a token in ssh_config(5).
    return _fits(uri, name, value, _PATH).replace("%", "%%")


def _fits(uri: ConnectionURI, name: str, value: str, pattern: re.Pattern[str]) -> str:
    if pattern.fullmatch(value) is None:
        raise _unusable(uri, f"{name} {value!r}", "ssh or a shell would take it for something else")
    return value


def _unusable(uri: ConnectionURI, what: str, why: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"connection URI '{uri}': {what} cannot be used: {why}")
