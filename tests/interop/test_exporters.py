"""Monitoring programs as Debian has them read a daemon's numbers."""

from __future__ import annotations

import contextlib
import csv
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from guests import cache
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.support.wait import wait_for

pytestmark = pytest.mark.interop

UNPACK = Path(__file__).resolve().parents[2] / "packaging" / "unpack-debian-package"
COLLECTD = """
Hostname "test"
Interval 1
BaseDir "{folder}"
PIDFile "{folder}/collectd.pid"
TypesDB "/usr/share/collectd/types.db"
LoadPlugin logfile
<Plugin logfile>
  LogLevel info
  File "{folder}/collectd.log"
</Plugin>
LoadPlugin csv
<Plugin csv>
  DataDir "{folder}/csv"
</Plugin>
LoadPlugin virt
<Plugin virt>
  Connection "{uri}"
  RefreshInterval 1
  HostnameFormat name
  ExtraStats "cpu_util disk disk_err domain_state pcpu perf vcpupin disk_physical disk_capacity memory"
</Plugin>
"""


@contextlib.contextmanager
def running(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as trial:
        return int(trial.getsockname()[1])


def test_prometheus_libvirt_exporter(host_a: DaemonProcess, folder: Path) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    told = ""

    def scraped() -> bool:
        nonlocal told
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            told = answer.read().decode()
        return "libvirt_up" in told

    with (
        running_tiny(host_a, folder, boot="disk") as guest,
        running("prometheus-libvirt-exporter", "--libvirt.uri", host_a.uri, "--web.listen-address", address),
    ):
        wait_for(scraped, "the exporter answers")
        metrics = {line.split("{")[0].split()[0]: line.split()[-1] for line in told.splitlines() if line[:1] != "#"}
        assert metrics["libvirt_up"] == "1"
        assert metrics["libvirt_domains_number"] == "1"
        assert float(metrics["libvirt_domain_info_cpu_time_seconds_total"]) > 0
        assert float(metrics["libvirt_domain_info_maximum_memory_bytes"]) == guest.guest.domain.memory_kib * 1024
        assert "libvirt_domain_block_stats_read_bytes_total" in metrics
        assert metrics["libvirt_domain_state_code"] == "1"


def test_collectd(host_a: DaemonProcess, folder: Path) -> None:
    configuration = folder / "collectd.conf"
    configuration.write_text(COLLECTD.format(folder=folder, uri=host_a.uri))
    values = folder / "csv" / "tiny" / "virt"

    def counted() -> set[str]:
        return {path.name.rpartition("-20")[0] for path in values.glob("*")}

    wanted = {"virt_cpu_total", "memory-total", "memory-rss", "disk_octets-vda", "disk_capacity-vda", "domain_state"}
    with (
        running_tiny(host_a, folder, boot="disk"),
        running("collectd", "-f", "-C", str(configuration)),
    ):
        wait_for(lambda: all(any(name.startswith(each) for name in counted()) for each in wanted), f"{wanted}")
    log = (folder / "collectd.log").read_text()
    assert "failed" not in log, log


def virt_top() -> str:
    """Debian 12 has none; the next Debian's runs here all the same."""
    place = cache.directory() / "virt-top"
    with cache.locked("virt-top"):
        subprocess.run([UNPACK, "trixie", "virt-top", place], check=True, timeout=150)
    return str(place / "usr" / "bin" / "virt-top")


def test_virt_top(host_a: DaemonProcess, folder: Path) -> None:
    told = folder / "top.csv"
    words = ("--script", "--csv", str(told), "-n", "3", "-d", "1", "--connect", host_a.uri)
    with running_tiny(host_a, folder, boot="disk"):
        done = subprocess.run(
            [virt_top(), *words], capture_output=True, text=True, timeout=60, check=False, env={"HOME": str(folder)}
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with open(told, newline="") as file:
        first, *rounds = list(csv.reader(file))
    assert len(rounds) == 3
    last = dict(zip(first, rounds[-1], strict=True))
    assert (last["Count"], last["Running"], last["Domain name"]) == ("1", "1", "tiny")
    assert int(last["Total CPU time (ns)"]) > 0
    assert float(last["Total guest memory (KB)"]) > 0
    assert last["Block RDRQ"] != ""
    assert "error" not in host_a.log.lower().replace("error=", "")
