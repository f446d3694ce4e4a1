"""The systemd unit of the package, read as systemd reads it."""

from __future__ import annotations

from pathlib import Path

UNIT = Path(__file__).resolve().parents[2] / "packaging" / "culvertd.service"

# systemd.unit(5), systemd.service(5), systemd.kill(5), systemd.exec(5), systemd.resource-control(5). It passes over
# a key that it does not know, with a warning that nobody reads: so what is not listed here is refused.
KEYS = {
    "Unit": {"Description", "After", "Wants"},
    "Service": {
        *("Type", "NotifyAccess", "ExecStart", "ExecReload", "Restart", "RestartSec", "KillMode", "TimeoutStopSec"),
        *("LimitNOFILE", "LimitMEMLOCK", "TasksMax", "UMask"),
        *("StateDirectory", "RuntimeDirectory", "RuntimeDirectoryPreserve", "ConfigurationDirectory"),
        *("LogsDirectory", "LogsDirectoryMode", "OOMPolicy"),
        *("NoNewPrivileges", "LockPersonality", "RestrictRealtime", "RestrictSUIDSGID", "ProtectKernelLogs"),
        *("ProtectKernelModules", "ProtectControlGroups", "ProtectHostname", "ProtectSystem"),
        *("SystemCallArchitectures", "RestrictAddressFamilies"),
    },
    "Install": {"WantedBy"},
}


def read() -> dict[str, dict[str, str]]:
    """Its sections. What systemd would read in another way than it looks fails: a line continued, a key twice."""
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] | None = None
    for line in UNIT.read_text("ascii").splitlines():
        assert not line.endswith("\\"), line
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("["):
            assert line[1:-1] in KEYS, line
            assert line[1:-1] not in found, line
            section = found.setdefault(line[1:-1], {})
            continue
        key, equals, value = line.partition("=")
        assert section is not None, line
        assert equals, line
        assert value == value.strip() != "", line
        assert key in KEYS[next(reversed(found))], line
        assert key not in section, line
        section[key] = value
    assert found.keys() == KEYS.keys()
    return found
