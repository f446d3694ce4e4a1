"""The daemon's configuration: one TOML file, every key declared here once with its default, unit and sentence.

The annotated sample and ``--show-config`` are written from the same table, so that they cannot differ from the code.
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from culvert.drivers.qemu.abilities.emulators import DISTRIBUTION
from culvert.ground import errors
from culvert.ground.units import MiB


def _key(default: Any, sentence: str) -> Any:
    metadata = {"sentence": sentence}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class DaemonSection:
    """Who the daemon is and where it listens."""

    listen: list[str] = _key(
        [],
        "Addresses to listen on besides the UNIX socket: tls://HOST:PORT (port 16514 by default), "
        "tcp://HOST:PORT (clear-text; port 16509 by default).",
    )
    allow_clear_text: bool = _key(
        False,
        "Let tcp:// listeners start on other addresses than loopback. Nothing on them is encrypted or authenticated.",
    )
    unix_socket_mode: int = _key(0o600, "Permissions of the UNIX socket.")
    unix_socket_ro_mode: int = _key(
        0o777, "Permissions of the UNIX socket for those who may only look (virsh -r); 0: there is none."
    )
    policy: str = _key(
        "",
        "File that says who may do what with which guests (docs/security.md); empty: whoever is let in may do "
        "everything. SIGHUP makes the daemon read it again.",
    )
    hostname: str = _key("", "Name of this host as clients see it; empty: the system's.")
    log_level: str = _key("info", "debug, info, warning or error.")


@dataclass(frozen=True, slots=True)
class TlsSection:
    """Certificates, and who may come in with theirs. SIGHUP makes the daemon read the files again."""

    ca: str = _key("", "CA certificate, for both sides; empty: /etc/pki/CA/cacert.pem.")
    cert: str = _key("", "Certificate of this host's listeners; empty: /etc/pki/libvirt/servercert.pem.")
    key: str = _key("", "Key to it; empty: /etc/pki/libvirt/private/serverkey.pem.")
    client_cert: str = _key("", "What this daemon shows to destinations; empty: /etc/pki/libvirt/clientcert.pem.")
    client_key: str = _key("", "Key to it; empty: /etc/pki/libvirt/private/clientkey.pem.")
    crl: str = _key("", "Revoked certificates; empty: /etc/pki/CA/cacrl.pem where that is there.")
    allowed_clients: list[str] = _key(
        [],
        "Who may connect by TLS: distinguished names (C=GB,O=Example,CN=host) or subject alternative names, "
        "* and ? allowed; empty: everybody with a certificate of this CA.",
    )
    allowed_migration_peers: list[str] = _key(
        [],
        "Who may bring guests here, in the same way; empty: everybody who may connect. With names in it nobody may "
        "by clear-text TCP.",
    )
    min_version: str = _key("1.3", "Oldest TLS version: 1.3 or 1.2.")
    handshake_seconds: int = _key(10, "How long a client may take to prove who it is.")
    no_sanity: bool = _key(False, "Use this host's own certificates without looking whether they are valid.")


@dataclass(frozen=True, slots=True)
class LimitsSection:
    """What one peer may take."""

    max_clients: int = _key(5000, "Connections at one time.")
    max_anonymous_clients: int = _key(20, "Connections that have not authenticated yet.")
    max_client_requests: int = _key(32, "Calls of one connection being worked on; more wait in the socket.")
    max_packet: int = _key(32 * MiB, "Largest packet in bytes, 65536 to 33554432 (VIR_NET_MESSAGE_MAX).")


@dataclass(frozen=True, slots=True)
class KeepaliveSection:
    """How a silent peer is found out."""

    interval: int = _key(5, "Seconds of silence before a ping.")
    count: int = _key(5, "Unanswered pings before the connection is given up.")


@dataclass(frozen=True, slots=True)
class MigrationSection:
    """How guests move."""

    connect_seconds: int = _key(20, "How long connecting to a destination may take.")
    deadline_seconds: int = _key(0, "A migration that has not reached its last step by then is cancelled; 0: never.")
    route: str = _key(
        "auto",
        "How the guest's bytes travel: stream (packets of the daemons' connection), direct (a connection to the same "
        "port that is handed to QEMU on both sides), pump (such connections moved by workers of the daemons: any "
        "number of channels, TLS, and a lost connection is opened anew), or auto (direct where nothing is encrypted "
        "and one channel is asked for, else pump; stream where the other end is no culvert).",
    )
    compression: str = _key(
        "off", "Compress on the pump route (zstd): off, on, or auto (while it makes the migration faster)."
    )
    auto: bool = _key(
        False,
        "Look at every migration out of this host and help it to converge, as culvert migrate --auto does: choose "
        "among channels, compression, post-copy and slowing the guest down, and say why in the job and the history.",
    )
    auto_floor: int = _key(
        30, "How many percent of its CPU time a guest keeps at least when such a migration slows it down."
    )
    attach_seconds: int = _key(30, "How long after it was prepared a migration into this host may begin to send.")
    give_up_seconds: int = _key(
        300, "How long a prepared migration into this host waits for a source that says nothing; 0: for ever."
    )
    history_records: int = _key(10_000, "How many migrations that are over the history keeps; 0: no limit.")
    history_days: int = _key(365, "How long the history keeps a migration that is over; 0: no limit.")
    reattach_seconds: int = _key(
        60, "How long a migration on the pump route waits for a lost connection to come back before it is cancelled."
    )
    dead_seconds: int = _key(10, "Silence after which a connection of the pump route counts as lost.")
    window: int = _key(
        2,
        "What a channel of the pump route keeps in MiB until the other end has it. More keeps a long link full (the "
        "bandwidth times the round trip), less lets a guest stand still for a shorter time.",
    )
    bandwidth: int = _key(0, "What all migrations out of this host may send together, in MiB/s; 0: no limit.")
    stall_seconds: int = _key(
        120, "A migration whose tunnel has not moved a byte for this long is cancelled; 0: never."
    )
    host: str = _key(
        "",
        "Address under which other daemons reach this one's TCP listener, for migrations that a client drives; "
        "empty: the address that the client itself used.",
    )


@dataclass(frozen=True, slots=True)
class QemuSection:
    """How QEMU is run."""

    emulator: str = _key("/usr/bin/qemu-system-x86_64", "The QEMU that runs guests whose XML names none.")
    allow_commandline: bool = _key(
        False, "Whether a guest's XML may have words of its own for QEMU's command line (<qemu:commandline>)."
    )
    spice_tls: str = _key(
        "",
        "Folder with ca-cert.pem, server-cert.pem and server-key.pem for encrypted SPICE; empty: there is none.",
    )
    emulators: list[str] = _key(
        list(DISTRIBUTION),
        "Other QEMUs that a definition may name, * and ? allowed: who may define a guest names what is run.",
    )
    start_seconds: int = _key(30, "How long QEMU may take to answer on its monitor after the start.")
    stop_seconds: int = _key(10, "How long QEMU may take to end before it is killed.")


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file: one table a section."""

    daemon: DaemonSection = field(default_factory=DaemonSection)
    tls: TlsSection = field(default_factory=TlsSection)
    limits: LimitsSection = field(default_factory=LimitsSection)
    keepalive: KeepaliveSection = field(default_factory=KeepaliveSection)
    migration: MigrationSection = field(default_factory=MigrationSection)
    qemu: QemuSection = field(default_factory=QemuSection)


# (section, key) → the values that make sense; what is not named takes anything of its type.
_RANGES: dict[tuple[str, str], range] = {
    ("daemon", "unix_socket_mode"): range(0o1000),
    ("daemon", "unix_socket_ro_mode"): range(0o1000),
    ("tls", "handshake_seconds"): range(1, 601),
    ("limits", "max_clients"): range(1, 1_000_001),
    ("limits", "max_anonymous_clients"): range(1, 1_000_001),
    ("limits", "max_client_requests"): range(1, 10_001),
    ("limits", "max_packet"): range(65536, 32 * MiB + 1),
    ("keepalive", "interval"): range(1, 3601),
    ("keepalive", "count"): range(1, 1001),
    ("migration", "connect_seconds"): range(1, 3601),
    ("migration", "deadline_seconds"): range(10_000_001),
    ("migration", "stall_seconds"): range(10_000_001),
    ("migration", "attach_seconds"): range(1, 3601),
    ("migration", "auto_floor"): range(1, 100),
    ("migration", "reattach_seconds"): range(1, 86_401),
    ("migration", "give_up_seconds"): range(10_000_001),
    ("migration", "history_records"): range(100_000_001),
    ("migration", "history_days"): range(1_000_001),
    ("migration", "dead_seconds"): range(2, 3601),
    ("migration", "window"): range(1, 1025),
    ("migration", "bandwidth"): range(10_000_001),
    ("qemu", "start_seconds"): range(1, 3601),
    ("qemu", "stop_seconds"): range(1, 3601),
}
# (section, key) → the words it may be.
_WORDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("daemon", "log_level"): ("debug", "info", "warning", "error"),
    ("tls", "min_version"): ("1.2", "1.3"),
    ("migration", "route"): ("stream", "direct", "pump", "auto"),
    ("migration", "compression"): ("off", "auto", "on"),
}


def load(path: Path | None) -> Config:
    """The configuration in ``path``; the defaults where there is no such file.

    Raises ``errors.InvalidArgument`` naming the file and the key: not readable, not TOML, a section or key that does
    not exist, a value of another type or outside its range.
    """
    if path is None or not path.exists():
        return Config()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise errors.InvalidArgument(f"configuration file {path} cannot be read: {err}") from err
    return from_tables(tables, str(path))


def from_tables(tables: dict[str, Any], where: str) -> Config:
    """The configuration in parsed TOML; ``where`` names it in messages. Raises as ``load``."""
    sections: dict[str, Any] = {}
    types = get_type_hints(Config)
    for name, table in tables.items():
        if name not in types or not isinstance(table, dict):
            raise errors.InvalidArgument(f"{where}: there is no section [{name}]; known are {', '.join(types)}")
        sections[name] = types[name](**_values(types[name], name, table, where))
    return Config(**sections)


def _values(section: Any, name: str, table: dict[str, Any], where: str) -> dict[str, Any]:
    defaults = section()
    for key, value in table.items():
        if key not in {f.name for f in dataclasses.fields(section)}:
            raise errors.InvalidArgument(f"{where}: section [{name}] has no key '{key}'")
        default = getattr(defaults, key)
        if type(value) is not type(default):
            raise errors.InvalidArgument(
                f"{where}: [{name}] {key} is {value!r}, where a {type(default).__name__} belongs"
            )
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise errors.InvalidArgument(f"{where}: [{name}] {key} is a list of strings")
        allowed = _RANGES.get((name, key))
        if allowed is not None and value not in allowed:
            raise errors.InvalidArgument(
                f"{where}: [{name}] {key} is {value}, which is not between {allowed.start} and {allowed.stop - 1}"
            )
        words = _WORDS.get((name, key))
        if words is not None and value not in words:
            raise errors.InvalidArgument(f"{where}: [{name}] {key} is '{value}', not one of {', '.join(words)}")
    return table


def render(config: Config, *, commented: bool) -> str:
    """The configuration as an annotated TOML file; ``commented`` makes every key a comment (the sample)."""
    lines: list[str] = []
    for part in dataclasses.fields(config):
        section = getattr(config, part.name)
        lines += [f"# {' '.join((type(section).__doc__ or '').split())}", f"[{part.name}]"]
        for key in dataclasses.fields(section):
            lines += ["", f"# {key.metadata['sentence']}"]
            mark = "#" if commented else ""
            lines.append(f"{mark}{key.name} = {_toml(key.name, getattr(section, key.name))}")
        lines.append("")
    return "\n".join(lines)


def _toml(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if name.endswith("_mode"):
        return f"0o{value:o}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml("", item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)
