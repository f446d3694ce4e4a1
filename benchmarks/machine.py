"""What a run was made on: a number means little without it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import ssl
import subprocess
from pathlib import Path

from benchmarks.emulator import QEMU

ROOT = Path(__file__).resolve().parents[1]


def machine() -> dict[str, str | int]:
    """Processor, cores, memory, kernel."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"model name\s*:\s*(.*)", info)
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"))
    return {
        "processor": found.group(1) if found else platform.processor(),
        "cores": os.cpu_count() or 0,
        "memory_mib": int(memory.group(1)) >> 10 if memory else 0,
        "kernel": platform.release(),
        "architecture": platform.machine(),
    }


def versions() -> dict[str, str]:
    """Of everything that takes part; empty where a program is not there."""
    return {
        "qemu": _first_number([QEMU, "--version"]),
        "libvirt": _first_number(["libvirtd", "--version"]),
        "virsh": _first_number(["virsh", "--version"]),
        "openssh": _first_number(["ssh", "-V"]),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "culvert": commit(),
    }


def _first_number(argv: list[str]) -> str:
    if shutil.which(argv[0]) is None:
        return ""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\S*", done.stdout + done.stderr)
    return found.group(0) if found else ""


def commit() -> str:
    """culvert's revision, ``+`` behind it when its sources are not as committed; empty outside of a clone."""
    try:
        revision = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", "src")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return revision + ("+" if changed else "")


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout.strip()
